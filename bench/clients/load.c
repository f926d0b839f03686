/*
 * The kernel client of the benches: offers one kind of work to a server, checks every answer, prints one JSON line of numbers.
 *
 *   load MODE ADDRESS PORT CONNECTIONS SIZE WARM_SECONDS SECONDS [WINDOW]
 *
 *   echo         messages of SIZE bytes come back; WINDOW of them under way on each connection
 *   short        connect, one message there and back, close; CONNECTIONS of these at a time
 *   sink         sends as fast as it goes, then FIN; the server answers "BYTES WRONG\n", what it got and how much was not the pattern
 *   source       takes what the server sends
 *   http         GET over kept connections
 *   http-close   GET, a connection each
 *   udp          datagrams of SIZE bytes come back; WINDOW of them under way
 *
 * `operations`, `bytes`, `p50` to `max` (microseconds) are of the SECONDS after WARM_SECONDS; `total` counts operations (bytes for
 * sink and source) from the first, for shares of the server's CPU. Sink is measured from the first byte to the server's last word.
 * Exit code 0 when it ran, also with wrong answers, which are counted; 2 for usage; 3 when nothing moved for ten seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 16384, WINDOW_MAX = 256, PIECE = 65536, READ_BYTES = 262144, EVENTS = 512, FAILED_MAX = 1000 };
/* A prime, so that a lost piece of any round size shows. */
enum { PERIOD = 65521 };
static const char BODY[] = "Hello, World!";

struct connection {
  int fd;
  int up;
  /* Bytes of the pattern sent and received, and where in the pattern both streams began. */
  uint64_t sent, got;
  uint32_t start;
  int done;
  uint64_t begun[WINDOW_MAX];
  unsigned oldest, newest;
  char answer[1024];
  int answered;
};

static struct connection *connections;
static unsigned char pattern[PERIOD + READ_BYTES];
static char buffer[READ_BYTES];
static struct sockaddr_in server;
static int queue;
static int size, window = 1;
static uint64_t operations, bytes, total, wrong, failed, lost;
static uint64_t measure_from, measure_to, last_move;
static int finishing;

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Latencies in buckets of 1/128 of a power of two, so a percentile is right within 0.8 %. */
static uint64_t buckets[64 * 128];
static uint64_t samples, largest;

static void sample(uint64_t ns) {
  int power = 63 - __builtin_clzll(ns | 128);
  buckets[(power - 6) * 128 + (int)((ns >> (power - 7)) & 127)]++;
  samples++;
  if (ns > largest) largest = ns;
}

static double percentile_us(double p) {
  uint64_t rank = (uint64_t)((double)samples * p), seen = 0;
  if (samples == 0) return 0;
  for (int i = 0; i < 64 * 128; i++) {
    seen += buckets[i];
    if (seen > rank) return (double)((uint64_t)(128 + i % 128) << (i / 128 - 1)) / 1000.0 * (1 + 0.5 / 128);
  }
  return 0;
}

static int measuring(uint64_t at) { return at >= measure_from && at < measure_to; }

static void operation(uint64_t begun, uint64_t at, uint64_t size_bytes) {
  total++;
  last_move = at;
  if (!measuring(at)) return;
  operations++;
  bytes += size_bytes;
  sample(at - begun);
}

static void watch(struct connection *c, int op, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  epoll_ctl(queue, op, c->fd, &e);
}

static void fail(struct connection *c);

static void open_connection(struct connection *c) {
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  c->up = c->done = c->answered = 0;
  c->sent = c->got = 0;
  c->oldest = c->newest = 0;
  c->start = (uint32_t)((c - connections) * 97 % PERIOD);
  c->begun[0] = now_ns();
  if (c->fd < 0) {
    fail(c);
    return;
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  watch(c, EPOLL_CTL_ADD, EPOLLOUT);
  if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) fail(c);
}

static void fail(struct connection *c) {
  if (c->fd >= 0) close(c->fd);
  c->fd = -1;
  c->done = 1;
  if (finishing) return;
  failed++;
  if (failed < 3) perror("load: a connection failed");
  if (failed < FAILED_MAX) open_connection(c);
}

/* Sends the pattern on from where this connection is, at most `most` bytes. Returns bytes taken. */
static uint64_t send_pattern(struct connection *c, uint64_t most) {
  uint64_t taken = 0;
  while (taken < most) {
    uint64_t at = (c->start + c->sent) % PERIOD;
    uint64_t want = most - taken < PIECE ? most - taken : PIECE;
    ssize_t n = send(c->fd, pattern + at, want, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
      fail(c);
      return taken;
    }
    if (n <= 0) break;
    c->sent += (uint64_t)n;
    taken += (uint64_t)n;
    if ((uint64_t)n < want) break;
  }
  return taken;
}

/* ---- echo and short ---- */

static void send_message(struct connection *c, uint64_t at) {
  c->begun[c->newest++ % WINDOW_MAX] = at;
  send_pattern(c, (uint64_t)size);
}

/* Messages may be larger than what one send takes. */
static void send_rest(struct connection *c) {
  uint64_t due = (uint64_t)c->newest * (uint64_t)size;
  if (c->sent < due) send_pattern(c, due - c->sent);
  watch(c, EPOLL_CTL_MOD, c->fd >= 0 && c->sent < due ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void echo_event(struct connection *c, uint32_t events, int once) {
  if (!c->up) {
    c->up = 1;
    uint64_t at = once ? c->begun[0] : now_ns();
    for (int i = 0; i < (once ? 1 : window); i++) send_message(c, at);
    if (c->fd >= 0) send_rest(c);
    return;
  }
  if (events & EPOLLOUT) send_rest(c);
  if (!(events & EPOLLIN) || c->fd < 0) return;
  ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) {
    fail(c);
    return;
  }
  if (c->got + (uint64_t)n > c->sent || memcmp(buffer, pattern + (c->start + c->got) % PERIOD, (size_t)n) != 0) wrong++;
  uint64_t before = c->got / (uint64_t)size, after = (c->got += (uint64_t)n) / (uint64_t)size;
  uint64_t at = now_ns();
  for (; before < after; before++) {
    operation(c->begun[c->oldest++ % WINDOW_MAX], at, (uint64_t)size);
    if (once) {
      close(c->fd);
      open_connection(c);
      return;
    }
    send_message(c, at);
    if (c->fd < 0 || c->sent < (uint64_t)c->newest * (uint64_t)size) {
      if (c->fd >= 0) send_rest(c);
      return;
    }
  }
}

/* ---- sink and source ---- */

static void sink_event(struct connection *c, uint32_t events) {
  if (!c->up) {
    c->up = 1;
    c->start = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
  }
  if (events & EPOLLOUT && !c->done) {
    uint64_t n = send_pattern(c, 8 * PIECE);
    if (n > 0) last_move = now_ns();
    if (c->fd >= 0 && now_ns() >= measure_to) {
      c->done = 1;
      shutdown(c->fd, SHUT_WR);
      watch(c, EPOLL_CTL_MOD, EPOLLIN);
    }
  }
  if (!(events & EPOLLIN) || c->fd < 0) return;
  ssize_t n = recv(c->fd, c->answer + c->answered, sizeof c->answer - 1 - (size_t)c->answered, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n > 0) c->answered += (int)n;
  c->answer[c->answered] = 0;
  if (strchr(c->answer, '\n') == NULL) {
    if (n <= 0) fail(c);
    return;
  }
  unsigned long long got = 0, bad = 0;
  if (sscanf(c->answer, "%llu %llu", &got, &bad) != 2 || got != c->sent) wrong++;
  wrong += bad;
  bytes += got;
  total += got;
  last_move = now_ns();
  close(c->fd);
  c->fd = -1;
}

/* The ends of every piece are compared, and every 16th piece whole: comparing all would measure this client. */
static int is_pattern(const struct connection *c, ssize_t n, uint64_t turn) {
  uint64_t at = (c->start + c->got) % PERIOD;
  if (turn % 16 == 0 || n < 64) return memcmp(buffer, pattern + at, (size_t)n) == 0;
  return memcmp(buffer, pattern + at, 16) == 0 && memcmp(buffer + n - 16, pattern + at + n - 16, 16) == 0;
}

static void source_event(struct connection *c, uint32_t events) {
  static uint64_t turn;
  if (!c->up) {
    c->up = 1;
    c->start = 0;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
  }
  if (!(events & EPOLLIN)) return;
  for (int i = 0; i < 4; i++) {
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      fail(c);
      return;
    }
    if (!is_pattern(c, n, turn++)) wrong++;
    c->got += (uint64_t)n;
    total += (uint64_t)n;
    last_move = now_ns();
    if (measuring(last_move)) bytes += (uint64_t)n;
    if ((size_t)n < sizeof buffer) return;
  }
}

/* ---- HTTP ---- */

static char request[256];
static size_t request_bytes;

/* Length of the whole answer once its head is there, 0 before, -1 when it is not what was asked for. */
static int answer_length(struct connection *c) {
  char *end = memmem(c->answer, (size_t)c->answered, "\r\n\r\n", 4);
  if (end == NULL) return c->answered >= (int)sizeof c->answer - 1 ? -1 : 0;
  int head = (int)(end - c->answer) + 4;
  c->answer[c->answered] = 0;
  if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0) return -1;
  char *field = strcasestr(c->answer, "\r\ncontent-length:");
  if (field == NULL || field > end || atoi(field + 17) != (int)sizeof BODY - 1) return -1;
  int length = head + (int)sizeof BODY - 1;
  if (c->answered < length) return 0;
  return memcmp(c->answer + head, BODY, sizeof BODY - 1) == 0 ? length : -1;
}

static void ask(struct connection *c) {
  if (send(c->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes) fail(c);
}

static void http_event(struct connection *c, uint32_t events, int once) {
  if (!c->up) {
    c->up = 1;
    if (!once) c->begun[0] = now_ns();
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    ask(c);
    return;
  }
  if (!(events & EPOLLIN)) return;
  ssize_t n = recv(c->fd, c->answer + c->answered, sizeof c->answer - 1 - (size_t)c->answered, 0);
  if (n < 0 && errno == EAGAIN) return;
  if (n < 0 || (n == 0 && !c->done)) {
    fail(c);
    return;
  }
  c->answered += (int)n;
  uint64_t at = now_ns();
  int length = c->done ? c->answered : answer_length(c);
  if (length < 0 || (length > 0 && c->answered > length)) wrong++;
  if (length == 0) return;
  if (!once) {
    operation(c->begun[0], at, (uint64_t)length);
    c->answered = 0;
    c->begun[0] = at;
    ask(c);
    return;
  }
  /* The server ends the connection: the answer is whole when it has. */
  if (c->done && n > 0) wrong++;
  c->done = 1;
  ssize_t more = n > 0 ? recv(c->fd, buffer, 1, MSG_PEEK) : 0;
  if (more < 0) return;
  if (more > 0) wrong++;
  operation(c->begun[0], at, (uint64_t)c->answered);
  close(c->fd);
  open_connection(c);
}

/* ---- UDP ---- */

struct datagram {
  uint32_t slot, turn;
};

static void udp(void) {
  static uint32_t turns[WINDOW_MAX];
  static uint64_t begun[WINDOW_MAX];
  static unsigned char out[2048];
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), big = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
  if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) {
    perror("load: connect");
    exit(1);
  }
  uint64_t at = now_ns(), looked = 0;
  int due = window;
  while (at < measure_to) {
    /* What has had no answer for 500 ms is lost; its place is used again. */
    if (due > 0 || at - looked > 50000000u) {
      looked = at;
      for (uint32_t i = 0; i < (uint32_t)window; i++) {
        if (begun[i] != 0 && at - begun[i] < 500000000u) continue;
        lost += begun[i] != 0;
        struct datagram d = {i, ++turns[i]};
        memcpy(out, pattern + d.turn % PERIOD, (size_t)size);
        memcpy(out, &d, sizeof d);
        begun[i] = at;
        send(fd, out, (size_t)size, 0);
      }
      due = 0;
    }
    ssize_t n = recv(fd, buffer, 2048, 0);
    if (n < 0) {
      struct pollfd p = {fd, POLLIN, 0};
      poll(&p, 1, 50);
      at = now_ns();
      continue;
    }
    at = now_ns();
    struct datagram d;
    memcpy(&d, buffer, sizeof d);
    if (n != size || d.slot >= (uint32_t)window || d.turn > turns[d.slot]) {
      wrong++;
      continue;
    }
    if (d.turn < turns[d.slot]) continue;
    if (memcmp(buffer + sizeof d, pattern + d.turn % PERIOD + sizeof d, (size_t)size - sizeof d) != 0) wrong++;
    operation(begun[d.slot], at, (uint64_t)size);
    d.turn = ++turns[d.slot];
    memcpy(out, pattern + d.turn % PERIOD, (size_t)size);
    memcpy(out, &d, sizeof d);
    begun[d.slot] = at;
    send(fd, out, (size_t)size, 0);
  }
  close(fd);
}

/* ---- */

static void report(const char *mode, uint64_t began, uint64_t ended) {
  int sink = strcmp(mode, "sink") == 0;
  double seconds = (double)(sink ? last_move - began : (ended < measure_to ? ended : measure_to) - measure_from) / 1e9;
  printf("{\"operations\":%llu,\"bytes\":%llu,\"total\":%llu,\"seconds\":%.6f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"p9999\":%.3f,"
         "\"max\":%.3f,\"wrong\":%llu,\"failed\":%llu,"
         "\"lost\":%llu}\n",
         (unsigned long long)operations, (unsigned long long)bytes, (unsigned long long)total, seconds, percentile_us(0.5),
         percentile_us(0.99), percentile_us(0.999), percentile_us(0.9999), (double)largest / 1000.0, (unsigned long long)wrong, (unsigned long long)failed, (unsigned long long)lost);
}

static int all_done(int count) {
  for (int i = 0; i < count; i++)
    if (connections[i].fd >= 0) return 0;
  return 1;
}

static void event(const char *mode, struct connection *c, uint32_t events) {
  if (c->fd < 0) return;
  if ((events & EPOLLERR) != 0) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    errno = error;
    fail(c);
  } else if (strcmp(mode, "echo") == 0) echo_event(c, events, 0);
  else if (strcmp(mode, "short") == 0) echo_event(c, events, 1);
  else if (strcmp(mode, "sink") == 0) sink_event(c, events);
  else if (strcmp(mode, "source") == 0) source_event(c, events);
  else http_event(c, events, strcmp(mode, "http-close") == 0);
}

static void tcp(const char *mode, int count) {
  int sink = strcmp(mode, "sink") == 0;
  struct epoll_event events[EVENTS];
  queue = epoll_create1(0);
  for (int i = 0; i < count; i++) open_connection(&connections[i]);
  for (;;) {
    uint64_t at = now_ns();
    if (failed >= FAILED_MAX || (at >= measure_to && (!sink || all_done(count)))) break;
    if (at > last_move + 10000000000u) {
      fprintf(stderr, "load: nothing moved for ten seconds\n");
      exit(3);
    }
    int n = epoll_wait(queue, events, EVENTS, 50);
    for (int i = 0; i < n; i++) event(mode, events[i].data.ptr, events[i].events);
  }
  finishing = 1;
}

int main(int argc, char **argv) {
  static const char *const MODES[] = {"echo", "short", "sink", "source", "http", "http-close", "udp", NULL};
  int known = 0;
  for (int i = 0; argc > 1 && MODES[i] != NULL; i++) known |= strcmp(argv[1], MODES[i]) == 0;
  int count = argc > 4 ? atoi(argv[4]) : 0;
  if (argc > 8) window = atoi(argv[8]);
  size = argc > 5 ? atoi(argv[5]) : 0;
  int udp_mode = known && strcmp(argv[1], "udp") == 0;
  if (!known || argc < 8 || count < 1 || count > CONNECTIONS_MAX || size < 1 || (udp_mode && (size < 8 || size > 1472)) || window < 1 ||
      window > WINDOW_MAX) {
    fprintf(stderr, "usage: load echo|short|sink|source|http|http-close|udp ADDRESS PORT CONNECTIONS SIZE WARM_SECONDS SECONDS [WINDOW]\n");
    return 2;
  }
  server.sin_family = AF_INET;
  server.sin_port = htons((uint16_t)atoi(argv[3]));
  server.sin_addr.s_addr = inet_addr(argv[2]);
  request_bytes = (size_t)snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: %s:%s\r\n%s\r\n", argv[2], argv[3],
                                   strcmp(argv[1], "http-close") == 0 ? "Connection: close\r\n" : "");
  for (uint32_t i = 0; i < sizeof pattern; i++) pattern[i] = (unsigned char)((i % PERIOD * 0x9e3779b1u) >> 24);
  connections = calloc((size_t)count, sizeof *connections);
  uint64_t began = last_move = now_ns();
  measure_from = began + (uint64_t)(atof(argv[6]) * 1e9);
  measure_to = measure_from + (uint64_t)(atof(argv[7]) * 1e9);
  if (udp_mode) udp();
  else tcp(argv[1], count);
  report(argv[1], began, now_ns());
  return 0;
}
