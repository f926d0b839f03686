// TAP with virtio-net headers (linux: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h; virtio 1.2 section 5.1.6).
// Whole super-segments go both ways: readv and writev scatter them over the links of a train.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <memory>

#include "../burst/checksum.h"
#include "../port.h"

namespace flowring {

namespace {

// virtio 1.2 section 5.1.6 (linux/virtio_net.h is no C++).
constexpr uint8_t VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2, VNET_GSO_NONE = 0, VNET_GSO_TCPV4 = 1, VNET_GSO_ECN = 0x80;
constexpr int32_t kVnetBytes = 10;
constexpr int32_t kBounceBytes = 65536 + 64;
// Reads without a super-segment until the plan goes back to one frame: building 46 iovecs for an ACK is waste.
constexpr int32_t kSmallAfter = 64;
constexpr int32_t kMinLinear = 128;

struct VnetHeader {
  uint8_t flags, gsoType;
  uint16_t hdrLen, gsoSize, csumStart, csumOffset;
};
static_assert(sizeof(VnetHeader) == kVnetBytes, "virtio-net header is 10 bytes");

// Headers of a received super-segment: bytes to the TCP payload, 0 when it is no TCP over IPv4 that fits `have` bytes.
int32_t parseHeaders(const uint8_t* p, int32_t have) {
  int32_t l3 = 14;
  if (have < 54) return 0;
  uint32_t type = be16(p + 12);
  if (type == 0x8100) {
    type = be16(p + 16);
    l3 = 18;
  }
  if (type != 0x0800 || (p[l3] & 15) < 5 || p[l3 + 9] != 6) return 0;
  const int32_t l4 = l3 + ((p[l3] & 15) << 2);
  if (l4 + 20 > have) return 0;
  const int32_t hdr = l4 + ((p[l4 + 12] >> 4) << 2);
  return hdr < l4 + 20 || hdr > have ? 0 : hdr;
}

class Tap final : public Device {
 public:
  ~Tap() override {
    if (fd_ >= 0) ::close(fd_);
    if (wakeFd_ >= 0) ::close(wakeFd_);
  }
  int open(const PortOptions& options, PortFacts& facts, std::string& what) override;
  int32_t rxBurst(PortMemory& m, int32_t* desc, int32_t max) override;
  int32_t txBurst(PortMemory& m, int32_t* desc, int32_t n) override;
  bool wait(int bellFd, int ms) override;
  void wake() override;
  void close() override;

 private:
  int attachInterface(PortOptions& options, std::string& what);
  int setUp(const PortOptions& options, PortFacts& facts, std::string& what);
  void negotiate(bool offload, PortFacts& facts);
  int32_t plan(const PortMemory& m, int32_t free);
  bool receive(PortMemory& m, int32_t* d, int32_t len, int32_t planned);
  bool rescatter(PortMemory& m, int32_t len, int32_t planned, int32_t hdr, int32_t gso, int32_t* links);
  int32_t* finish(PortMemory& m, int32_t* d, int32_t len, int32_t links, int32_t hdr, int32_t gso);
  bool fill(PortMemory& m, int32_t* d, int32_t* count);

  int fd_ = -1;
  int wakeFd_ = -1;
  int32_t mtu_ = 1500;
  std::atomic<bool> closed_{false};
  // What the next super-segment is expected to look like, and how long ago the last one was.
  int32_t predHdr_ = 66, predGso_ = 1448, sinceTrain_ = kSmallAfter;
  VnetHeader vnet_{};
  iovec iov_[TRAIN_LINKS_MAX + 3];
  std::unique_ptr<uint8_t[]> bounce_{new uint8_t[kBounceBytes]};
};

int Tap::attachInterface(PortOptions& options, std::string& what) {
  fd_ = ::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd_ < 0) {
    const int err = errno;
    const bool missing = err == ENOENT || err == ENXIO || err == ENODEV;
    what = missing ? "tap:" + options.name + ": /dev/net/tun is not there (modprobe tun; in a container pass --device /dev/net/tun)"
                   : "tap:" + options.name + ": cannot open /dev/net/tun (run as root, or give the process CAP_NET_ADMIN and read-write access to it)";
    return err;
  }
  ifreq r{};
  snprintf(r.ifr_name, sizeof r.ifr_name, "%s", options.name.c_str());
  const short base = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  r.ifr_flags = static_cast<short>(base | (options.multiQueue ? IFF_MULTI_QUEUE : 0));
  int err = ioctl(fd_, TUNSETIFF, &r) == 0 ? 0 : errno;
  if (err == EINVAL) {
    // An existing interface insists on the multi-queue flag it was made with.
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", options.name.c_str());
    r.ifr_flags = static_cast<short>(base | (options.multiQueue ? 0 : IFF_MULTI_QUEUE));
    err = ioctl(fd_, TUNSETIFF, &r) == 0 ? 0 : errno;
  }
  if (err == 0) {
    options.name = r.ifr_name;
    return 0;
  }
  what = "tap:" + options.name + ": TUNSETIFF refused";
  if (err == EBUSY) what += " (another process holds this interface; take another name, or make it with multi_queue)";
  else if (err == EPERM) what += " (needs CAP_NET_ADMIN, or `ip tuntap add mode tap user $USER name " + options.name + "` by an administrator)";
  else if (err == EINVAL) what += " ('" + options.name + "' exists and is no TAP interface, or is no valid name)";
  return err;
}

// Up, MTU, the kernel's address. The kernel's side gets no IP address from us.
int Tap::setUp(const PortOptions& options, PortFacts& facts, std::string& what) {
  const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (s < 0) return what = "tap:" + options.name + ": socket", errno;
  auto request = [&](unsigned long code, ifreq& r, const char* step) {
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", options.name.c_str());
    if (ioctl(s, code, &r) == 0) return 0;
    what = "tap:" + options.name + ": " + step;
    return errno;
  };
  ifreq r{};
  int err = request(SIOCGIFHWADDR, r, "cannot read its address");
  if (err == 0) {
    memcpy(facts.kernelMac, r.ifr_hwaddr.sa_data, 6);
    if (facts.created) {
      r = ifreq{};
      r.ifr_mtu = options.mtu;
      err = request(SIOCSIFMTU, r, "cannot set its MTU");
    }
  }
  if (err == 0) {
    r = ifreq{};
    err = request(SIOCGIFMTU, r, "cannot read its MTU");
    facts.mtu = r.ifr_mtu < options.mtu ? r.ifr_mtu : options.mtu;
  }
  if (err == 0) {
    r = ifreq{};
    err = request(SIOCGIFFLAGS, r, "cannot read its flags");
    if (err == 0 && (r.ifr_flags & IFF_UP) == 0) {
      r.ifr_flags |= IFF_UP;
      err = request(SIOCSIFFLAGS, r, "cannot set the link up (needs CAP_NET_ADMIN)");
    }
  }
  ::close(s);
  mtu_ = facts.mtu;
  return err;
}

// What the kernel may hand us unfinished. Sending unfinished frames needs the header only, not the ioctl.
void Tap::negotiate(bool offload, PortFacts& facts) {
  if (!offload) {
    ioctl(fd_, TUNSETOFFLOAD, 0);
    facts.reason = "switched off (offload: false)";
    return;
  }
  if (ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) == 0) {
    facts.rxChecksum = facts.txChecksum = facts.tso = true;
    return;
  }
  facts.reason = std::string("TUNSETOFFLOAD refused CSUM|TSO4: ") + strerror(errno);
  if (ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM) == 0) facts.rxChecksum = facts.txChecksum = true;
  else ioctl(fd_, TUNSETOFFLOAD, 0);
}

int Tap::open(const PortOptions& asked, PortFacts& facts, std::string& what) {
  PortOptions options = asked;
  // Without a name the kernel takes the first free tapN.
  if (options.name.empty()) options.name = "tap%d";
  facts.created = if_nametoindex(options.name.c_str()) == 0;
  int err = attachInterface(options, what);
  if (err != 0) return err;
  facts.name = options.name;
  int size = kVnetBytes;
  if (ioctl(fd_, TUNSETVNETHDRSZ, &size) != 0) return what = "tap:" + options.name + ": TUNSETVNETHDRSZ 10 refused", errno;
  negotiate(options.offload, facts);
  wakeFd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wakeFd_ < 0) return what = "tap:" + options.name + ": eventfd", errno;
  return setUp(options, facts, what);
}

// iov_ for one read over frames off the free stack: header, link 0, further links, the bounce buffer. Returns the links planned.
int32_t Tap::plan(const PortMemory& m, int32_t free) {
  const Frames& t = m.frames;
  const int32_t* stack = m.own + P_STACK;
  const int32_t room = t.frameBytes - t.headroom;
  const bool bulk = sinceTrain_ < kSmallAfter;
  int32_t links = 1;
  iov_[0] = {&vnet_, kVnetBytes};
  iov_[1] = {t.packet + t.offset[stack[free - 1]] + t.headroom, static_cast<size_t>(bulk ? predHdr_ + predGso_ : room)};
  if (bulk) {
    const int32_t want = 1 + (65535 + predGso_ - 1) / predGso_;
    while (links < free && links < want && links < TRAIN_LINKS_MAX) {
      const int32_t f = stack[free - 1 - links];
      iov_[1 + links] = {t.packet + t.offset[f] + t.headroom + predHdr_, static_cast<size_t>(predGso_)};
      links++;
    }
  }
  iov_[1 + links] = {bounce_.get(), kBounceBytes};
  return links;
}

// hot: per burst
int32_t Tap::rxBurst(PortMemory& m, int32_t* desc, int32_t max) {
  int32_t n = 0;
  while (n < max) {
    const int32_t free = m.own[P_FREE];
    if (free == 0) break;  // frames stay in the kernel's queue
    const int32_t planned = plan(m, free);
    const ssize_t r = readv(fd_, iov_, planned + 2);
    if (r < 0 && errno == EINTR) continue;
    if (r <= kVnetBytes) {
      if (r < 0 && errno != EAGAIN) m.own[P_ERRNO] = errno;
      break;
    }
    if (receive(m, desc + n * DESC_WORDS, static_cast<int32_t>(r) - kVnetBytes, planned)) n++;
  }
  return n;
}

// One frame was read. False: it was dropped and counted, its frames stay on the stack.
bool Tap::receive(PortMemory& m, int32_t* d, int32_t len, int32_t planned) {
  const Frames& t = m.frames;
  const int32_t free = m.own[P_FREE];
  const int32_t inFirst = static_cast<int32_t>(iov_[1].iov_len);
  const bool gso = (vnet_.gsoType & ~VNET_GSO_ECN) != VNET_GSO_NONE;
  if (!gso) {
    if (sinceTrain_ < kSmallAfter) sinceTrain_++;
    if (len <= inFirst) return finish(m, d, len, 1, len, 0) != nullptr;
    // Longer than link 0 was planned for: one frame if it fits, else nothing.
    int32_t links = 0;
    if (len <= t.frameBytes - t.headroom && rescatter(m, len, planned, len, 0, &links)) return finish(m, d, len, 1, len, 0) != nullptr;
    m.own[P_DROPS + DROP_TRUNCATED]++;
    return false;
  }
  sinceTrain_ = 0;
  const uint8_t* head = static_cast<uint8_t*>(iov_[1].iov_base);
  const int32_t hdr = parseHeaders(head, len < inFirst ? len : inFirst);
  int32_t size = vnet_.gsoSize;
  const int32_t room = t.frameBytes - t.headroom - hdr;
  if (hdr == 0 || (vnet_.gsoType & ~VNET_GSO_ECN) != VNET_GSO_TCPV4 || size < 1 || size > room || len <= hdr) {
    m.own[P_DROPS + DROP_TRUNCATED]++;
    return false;
  }
  int32_t links = (len - hdr + size - 1) / size;
  if (links > TRAIN_LINKS_MAX) {
    // A small MSS gives more segments than a train has links: several segments a link, still within the MTU.
    const int32_t most = room < mtu_ - (hdr - 14) ? room : mtu_ - (hdr - 14);
    if (most > size) size *= most / size;
    links = (len - hdr + size - 1) / size;
  }
  if (links > TRAIN_LINKS_MAX || links > free) {
    m.own[P_DROPS + (links > free ? DROP_NO_FRAME : DROP_TRUNCATED)]++;
    return false;
  }
  const bool asPlanned = planned >= links && inFirst == hdr + size && (links == 1 || (predHdr_ == hdr && predGso_ == size && planned > 1));
  if (!asPlanned && !rescatter(m, len, planned, hdr, size, &links)) {
    m.own[P_DROPS + DROP_TRUNCATED]++;
    return false;
  }
  if (hdr + size >= kMinLinear) {
    predHdr_ = hdr;
    predGso_ = size;
  }
  return finish(m, d, len, links, hdr, size) != nullptr;
}

// Puts a frame that was read by another plan where it belongs: out of the planned pieces into the bounce buffer, then
// into link 0 and, `gso` bytes each, the further links.
bool Tap::rescatter(PortMemory& m, int32_t len, int32_t planned, int32_t hdr, int32_t gso, int32_t* links) {
  const Frames& t = m.frames;
  const int32_t free = m.own[P_FREE];
  const int32_t* stack = m.own + P_STACK;
  int32_t inFrames = 0;
  for (int32_t i = 1; i <= planned; i++) inFrames += static_cast<int32_t>(iov_[i].iov_len);
  if (len > kBounceBytes) return false;
  // What already overflowed into the bounce buffer moves behind the pieces.
  if (len > inFrames) memmove(bounce_.get() + inFrames, bounce_.get(), static_cast<size_t>(len - inFrames));
  for (int32_t i = 1, done = 0; i <= planned && done < len; i++) {
    const int32_t piece = static_cast<int32_t>(iov_[i].iov_len) < len - done ? static_cast<int32_t>(iov_[i].iov_len) : len - done;
    memcpy(bounce_.get() + done, iov_[i].iov_base, static_cast<size_t>(piece));
    done += piece;
  }
  m.own[P_RX_RESCATTER]++;
  int32_t k = 0;
  for (int32_t done = 0; done < len; k++) {
    if (k >= free) return false;
    int32_t piece = k == 0 ? hdr + gso : gso;
    if (piece > len - done) piece = len - done;
    memcpy(t.packet + t.offset[stack[free - 1 - k]] + t.headroom + (k == 0 ? 0 : hdr), bounce_.get() + done, static_cast<size_t>(piece));
    done += piece;
  }
  *links = k;
  return true;
}

// The descriptor and the columns; the frames leave the free stack.
int32_t* Tap::finish(PortMemory& m, int32_t* d, int32_t len, int32_t links, int32_t hdr, int32_t gso) {
  const Frames& t = m.frames;
  const int32_t* stack = m.own + P_STACK + m.own[P_FREE] - 1;
  const int32_t first = *stack;
  const int32_t linear = links == 1 ? len : hdr + gso;
  for (int32_t k = 0, left = len - linear; k < links; k++) {
    const int32_t f = stack[-k];
    t.owner[f] = OWNER_BROKER;
    t.next[f] = k + 1 < links ? stack[-k - 1] : -1;
    if (k == 0) {
      t.length[f] = linear;
    } else {
      t.length[f] = left < gso ? left : gso;
      left -= t.length[f];
    }
  }
  m.own[P_FREE] -= links;
  int32_t flags = 0;
  if ((vnet_.flags & VNET_NEEDS_CSUM) != 0) flags = F_CSUM_PARTIAL | F_CSUM_OK;
  else if ((vnet_.flags & VNET_DATA_VALID) != 0) flags = F_CSUM_OK;
  if (links > 1) flags |= F_TRAIN;
  d[D_FRAME] = first;
  d[D_DATA] = (t.headroom << 16) | linear;
  d[D_TOTAL] = len;
  d[D_REGION_GEN] = static_cast<int32_t>(static_cast<uint32_t>(t.region) << 16 | (static_cast<uint32_t>(t.generation[first]) & GENERATION_MASK));
  d[D_OFFSETS] = 0;
  d[D_FLAGS_GSO] = static_cast<int32_t>(static_cast<uint32_t>(links > 1 ? gso : 0) << 16) | flags;
  d[D_SEGS_VLAN] = links;
  d[D_HASH] = 0;
  return d;
}

// iov_ for one descriptor. False: it is not to be believed.
bool Tap::fill(PortMemory& m, int32_t* d, int32_t* count) {
  const Frames& t = m.frames;
  uint8_t* eth = t.believe(d);
  const int32_t linear = d[D_DATA] & 0xffff, flags = d[D_FLAGS_GSO];
  const bool train = (flags & F_TRAIN) != 0;
  vnet_ = VnetHeader{};
  if (eth == nullptr || linear < 14 || (train ? !t.chainSound(d) : d[D_TOTAL] != linear)) return false;
  iov_[0] = {&vnet_, kVnetBytes};
  iov_[1] = {eth, static_cast<size_t>(linear)};
  *count = 2;
  if (!train && (flags & F_CSUM_PARTIAL) == 0) return true;
  const int32_t l3 = (d[D_OFFSETS] >> 8) & 0xff, l4 = static_cast<int32_t>(static_cast<uint32_t>(d[D_OFFSETS]) >> 16);
  const int32_t hdr = headerBytes(d, eth);
  if (hdr == 0) return false;
  const bool udp = eth[l3 + 9] == 17;
  vnet_.flags = VNET_NEEDS_CSUM;
  vnet_.csumStart = static_cast<uint16_t>(l4);
  vnet_.csumOffset = udp ? 6 : 16;
  if (!train) return true;
  const int32_t pay = static_cast<int32_t>(static_cast<uint32_t>(d[D_DATA]) >> 16) + hdr;
  const auto gso = static_cast<uint16_t>(static_cast<uint32_t>(flags) >> 16);
  if (udp || gso == 0 || !t.linksFit(d, pay)) return false;
  if ((flags & F_CSUM_PARTIAL) == 0)
    put16(eth + l4 + 16, fold(pseudoSum4(be32(eth + l3 + 12), be32(eth + l3 + 16), 6, static_cast<uint32_t>(d[D_TOTAL] - l4))));
  if (d[D_TOTAL] - hdr > gso) {
    vnet_.gsoType = VNET_GSO_TCPV4;
    vnet_.gsoSize = gso;
    vnet_.hdrLen = static_cast<uint16_t>(hdr);
  }
  for (int32_t f = t.next[d[D_FRAME]]; f != -1; f = t.next[f]) iov_[(*count)++] = {t.packet + t.offset[f] + pay, static_cast<size_t>(t.length[f])};
  return true;
}

// hot: per burst
int32_t Tap::txBurst(PortMemory& m, int32_t* desc, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    int32_t* d = desc + i * DESC_WORDS;
    int32_t count = 0;
    if (fill(m, d, &count)) {
      ssize_t r;
      do r = writev(fd_, iov_, count);
      while (r < 0 && errno == EINTR);
      if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return i;
      if (r < 0) {
        m.own[P_ERRNO] = errno;
        m.own[P_DROPS + DROP_TX_DEVICE]++;
      }
    } else {
      m.own[P_DROPS + DROP_BAD_DESCRIPTOR]++;
      // Without a valid generation the frame is somebody else's by now.
      if (m.frames.believe(d) == nullptr) continue;
    }
    m.takeHome(d[D_FRAME]);
  }
  return n;
}

bool Tap::wait(int bellFd, int ms) {
  pollfd p[3] = {{fd_, POLLIN, 0}, {wakeFd_, POLLIN, 0}, {bellFd, POLLIN, 0}};
  if (poll(p, bellFd >= 0 ? 3 : 2, ms) <= 0) return false;
  uint64_t rings;
  if ((p[1].revents & POLLIN) != 0 && read(wakeFd_, &rings, sizeof rings) < 0) return false;
  if (bellFd >= 0 && (p[2].revents & POLLIN) != 0 && read(bellFd, &rings, sizeof rings) < 0) return (p[0].revents & POLLIN) != 0;
  return (p[0].revents & POLLIN) != 0 && !closed_.load();
}

void Tap::wake() {
  const uint64_t one = 1;
  if (wakeFd_ >= 0 && write(wakeFd_, &one, sizeof one) < 0) return;  // EAGAIN: ringing already
}

// The interface goes, the number stays ours: a broker inside a burst meets /dev/null, never somebody else's file.
void Tap::close() {
  if (closed_.exchange(true) || fd_ < 0) return;
  const int null = ::open("/dev/null", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (null < 0) {
    ::close(fd_);
    fd_ = -1;
    return;
  }
  dup3(null, fd_, O_CLOEXEC);
  ::close(null);
}

}  // namespace

Device* makeTap() { return new Tap(); }

}  // namespace flowring
