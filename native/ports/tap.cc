// TAP with virtio-net headers (linux: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h; virtio 1.2 section 5.1.6).
// Whole super-segments go both ways: readv and writev scatter them over the links of a train.
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <memory>

#include "polled.h"
#include "vnet.h"

namespace flowring {

namespace {

constexpr int32_t kBounceBytes = 65536 + 64;
// Reads without a super-segment until the plan goes back to one frame: building 46 iovecs for an ACK is waste.
constexpr int32_t kSmallAfter = 64;
constexpr int32_t kMinLinear = 128;

class Tap final : public PolledDevice {
 public:
  int open(const PortOptions& options, PortFacts& facts, std::string& what) override;
  int32_t rxBurst(PortMemory& m, int32_t* desc, int32_t max) override;
  int32_t txBurst(PortMemory& m, int32_t* desc, int32_t n) override;

 private:
  int attachInterface(PortOptions& options, std::string& what);
  int setUp(const PortOptions& options, PortFacts& facts, std::string& what);
  void negotiate(bool offload, PortFacts& facts);
  int32_t plan(const PortMemory& m, int32_t free);
  bool receive(PortMemory& m, int32_t* d, int32_t len, int32_t planned);
  bool rescatter(PortMemory& m, int32_t len, int32_t planned, int32_t hdr, int32_t gso, int32_t* links);
  void failing(PortMemory& m) override;

  // What the next super-segment is expected to look like, and how long ago the last one was.
  int32_t predHdr_ = 66, predGso_ = 1448, sinceTrain_ = kSmallAfter;
  // Receiving and sending have their own: they may be two threads' business.
  VnetHeader vnet_{}, txVnet_{};
  iovec iov_[TRAIN_LINKS_MAX + 1], txIov_[kFrameIovecs];
  // Where the frame begins that the plan reads, behind its header, and what link 0 takes of it.
  uint8_t* first_ = nullptr;
  int32_t inFirst_ = 0;
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
  if (options.queues > 1) options.multiQueue = true;
  r.ifr_flags = static_cast<short>(base | (options.multiQueue ? IFF_MULTI_QUEUE : 0));
  int err = ioctl(fd_, TUNSETIFF, &r) == 0 ? 0 : errno;
  if (err == EINVAL && options.queues > 1 && if_nametoindex(options.name.c_str()) != 0) {
    const std::string count = std::to_string(options.queues);
    what = "tap:" + options.name + ": exists with one queue, " + count + " are needed; `ip link del " + options.name + "`, then let it be made, or `ip tuntap add dev " +
           options.name + " mode tap multi_queue`";
    return err;
  }
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
  facts.created = options.queue == 0 && if_nametoindex(options.name.c_str()) == 0;
  int err = attachInterface(options, what);
  if (err != 0) return err;
  facts.name = options.name;
  int size = kVnetBytes;
  if (ioctl(fd_, TUNSETVNETHDRSZ, &size) != 0) return what = "tap:" + options.name + ": TUNSETVNETHDRSZ 10 refused", errno;
  negotiate(options.offload, facts);
  if ((err = makeWake()) != 0) return what = "tap:" + options.name + ": eventfd", err;
  return setUp(options, facts, what);
}

// iov_ for one read over frames off the free stack: link 0 with the header in its headroom, further links, the bounce buffer.
// Returns the links planned.
int32_t Tap::plan(const PortMemory& m, int32_t free) {
  const Frames& t = m.frames;
  const int32_t* stack = m.own + P_STACK;
  const int32_t room = t.frameBytes - t.headroom;
  const bool bulk = sinceTrain_ < kSmallAfter;
  int32_t links = 1;
  first_ = t.packet + t.offset[stack[free - 1]] + t.headroom;
  inFirst_ = bulk ? predHdr_ + predGso_ : room;
  iov_[0] = {first_ - kVnetBytes, static_cast<size_t>(kVnetBytes + inFirst_)};
  if (bulk) {
    const int32_t want = 1 + (65535 + predGso_ - 1) / predGso_;
    while (links < free && links < want && links < TRAIN_LINKS_MAX) {
      const int32_t f = stack[free - 1 - links];
      iov_[links] = {t.packet + t.offset[f] + t.headroom + predHdr_, static_cast<size_t>(predGso_)};
      links++;
    }
  }
  iov_[links] = {bounce_.get(), kBounceBytes};
  return links;
}

// hot: per burst
int32_t Tap::rxBurst(PortMemory& m, int32_t* desc, int32_t max) {
  int32_t n = 0;
  while (n < max) {
    const int32_t free = m.own[P_FREE];
    if (free == 0) break;  // frames stay in the kernel's queue
    const int32_t planned = plan(m, free);
    const ssize_t r = readv(fd_, iov_, planned + 1);
    if (r < 0 && errno == EINTR) continue;
    if (r <= kVnetBytes) {
      if (r < 0 && errno != EAGAIN) m.own[P_ERRNO] = errno;
      break;
    }
    memcpy(&vnet_, first_ - kVnetBytes, kVnetBytes);
    if (receive(m, desc + n * DESC_WORDS, static_cast<int32_t>(r) - kVnetBytes, planned)) n++;
  }
  if (n > 0 && m.own[P_LINK] == ENETDOWN) m.own[P_LINK] = 0;
  return n;
}

// One frame was read. False: it was dropped and counted, its frames stay on the stack.
bool Tap::receive(PortMemory& m, int32_t* d, int32_t len, int32_t planned) {
  const Frames& t = m.frames;
  const int32_t free = m.own[P_FREE];
  if (!isGso(vnet_)) {
    if (sinceTrain_ < kSmallAfter) sinceTrain_++;
    // Longer than link 0 was planned for: one frame if it fits, else nothing.
    int32_t links = 0;
    if (len > inFirst_ && (len > t.frameBytes - t.headroom || !rescatter(m, len, planned, len, 0, &links))) {
      m.own[P_DROPS + DROP_TRUNCATED]++;
      return false;
    }
    describeFrame(m, d, vnet_, len, TrainPlan{len, 0, 1}, false);
    return true;
  }
  sinceTrain_ = 0;
  TrainPlan p;
  const int32_t reason = planTrain(t, vnet_, first_, len < inFirst_ ? len : inFirst_, len, free, p);
  if (reason != DROP_NONE) {
    m.own[P_DROPS + reason]++;
    return false;
  }
  const bool asPlanned = planned >= p.links && inFirst_ == p.hdr + p.gso && (p.links == 1 || (predHdr_ == p.hdr && predGso_ == p.gso && planned > 1));
  if (!asPlanned && !rescatter(m, len, planned, p.hdr, p.gso, &p.links)) {
    m.own[P_DROPS + DROP_TRUNCATED]++;
    return false;
  }
  if (p.hdr + p.gso >= kMinLinear) {
    predHdr_ = p.hdr;
    predGso_ = p.gso;
  }
  describeFrame(m, d, vnet_, len, p, false);
  return true;
}

// Puts a frame that was read by another plan where it belongs: out of the planned pieces into the bounce buffer, then
// into link 0 and, `gso` bytes each, the further links.
bool Tap::rescatter(PortMemory& m, int32_t len, int32_t planned, int32_t hdr, int32_t gso, int32_t* links) {
  const Frames& t = m.frames;
  const int32_t free = m.own[P_FREE];
  const int32_t* stack = m.own + P_STACK;
  int32_t inFrames = inFirst_;
  for (int32_t i = 1; i < planned; i++) inFrames += static_cast<int32_t>(iov_[i].iov_len);
  if (len > kBounceBytes) return false;
  // What already overflowed into the bounce buffer moves behind the pieces.
  if (len > inFrames) memmove(bounce_.get() + inFrames, bounce_.get(), static_cast<size_t>(len - inFrames));
  for (int32_t i = 0, done = 0; i < planned && done < len; i++) {
    const int32_t room = i == 0 ? inFirst_ : static_cast<int32_t>(iov_[i].iov_len);
    const int32_t piece = room < len - done ? room : len - done;
    memcpy(bounce_.get() + done, i == 0 ? first_ : iov_[i].iov_base, static_cast<size_t>(piece));
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

// hot: per burst
int32_t Tap::txBurst(PortMemory& m, int32_t* desc, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    int32_t* d = desc + i * DESC_WORDS;
    int32_t count = 0;
    if (gatherFrame(m, d, txVnet_, txIov_, &count)) {
      ssize_t r;
      do r = count == 1 ? write(fd_, txIov_[0].iov_base, txIov_[0].iov_len) : writev(fd_, txIov_, count);
      while (r < 0 && errno == EINTR);
      if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return i;
      if (r < 0) {
        if (errno == EIO && m.own[P_LINK] == 0) m.own[P_LINK] = ENETDOWN;
        m.own[P_ERRNO] = errno;
        m.own[P_DROPS + DROP_TX_DEVICE]++;
      } else if (m.own[P_LINK] == ENETDOWN) {
        m.own[P_LINK] = 0;
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

// The interface was deleted. It does not come back, and its descriptor says so to every poll, at once: every sleep would end with
// it. A timer that never rings takes its place, which is quiet, and refuses what is sent.
void Tap::failing(PortMemory& m) {
  m.own[P_LINK] = ENODEV;
  const int quiet = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (quiet < 0) return;
  if (!closed_.load()) dup3(quiet, fd_, O_CLOEXEC);
  ::close(quiet);
}

}  // namespace

Device* makeTap() { return new Tap(); }

}  // namespace flowring
