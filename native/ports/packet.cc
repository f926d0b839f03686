// AF_PACKET on an interface the kernel keeps (packet(7); linux: Documentation/networking/packet_mmap.rst, include/uapi/linux/
// if_packet.h). Receives through a TPACKET_V2 ring whose slots take a whole super-segment with its virtio-net header; one burst
// copies slots into pool frames, in order, and gives each slot back at once, so that a slow worker never stalls the ring.
//
// Sends by sendmmsg, scatter-gather over the links of a train. The plain thing would be a transmit ring beside the receive ring,
// but frames had to be copied into its slots. Sender's CPU a frame in bursts of 16 over a veth, median of 7, Linux 6.18, November
// 2026, sendmmsg and ring: 66 bytes 753 and 752 ns, 1,514 bytes 815 and 820 ns, 65,226 bytes 4.8 and 11.5 us. On a veth whole frames
// that fit leave through an AF_XDP transmit ring instead (transmitRing.h), their checksums completed here.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <memory>

#include "../burst/checksum.h"
#include "polled.h"
#include "slotCopy.h"
#include "transmitRing.h"
#include "vnet.h"

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif
#ifndef PACKET_FANOUT_FLAG_UNIQUEID
#define PACKET_FANOUT_FLAG_UNIQUEID 0x2000
#endif
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif

namespace flowring {

namespace {

// 17 pages: the largest IP datagram behind the ring's own headers (76 bytes and Ethernet), and a page to spare. A smaller slot
// truncates the super-segments of a kernel peer.
constexpr uint32_t kSlotBytes = 69632;
// 15 slots fill 1 MiB but for 4 KiB; a block of one slot would waste the half of its power-of-two pages.
constexpr uint32_t kBlockBytes = 1 << 20, kBlockSlots = kBlockBytes / kSlotBytes;
constexpr int kSendBufferBytes = 8 << 20;
constexpr int32_t kBatch = 16;
// Empty looks at the ring are many a millisecond, what `lookAround` finds out is news at most so often.
constexpr int64_t kLookNs = 50'000;
// A device that takes nothing for so long drops what waits for it.
constexpr int64_t kStallNs = 100'000'000;
constexpr int32_t kVlanBytes = 4;
// The virtio-net header ends where the frame begins: between the two stand no more bytes than the tag that is put back in.
static_assert(kVnetBytes >= kVlanBytes, "a tag is written over the virtio-net header");

int64_t nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

class Packet final : public PolledDevice {
 public:
  ~Packet() override {
    if (ring_ != nullptr) munmap(ring_, ringBytes_);
  }
  int open(const PortOptions& options, PortFacts& facts, std::string& what) override;
  int32_t rxBurst(PortMemory& m, int32_t* desc, int32_t max) override;
  int32_t txBurst(PortMemory& m, int32_t* desc, int32_t n) override;
  bool wait(PortMemory& m, int bellFd, int ms) override;
  void close() override;

 private:
  int findInterface(const PortOptions& options, PortFacts& facts, std::string& what);
  int makeRing(const PortOptions& options, PortFacts& facts, std::string& what);
  int listen(const PortOptions& options, PortFacts& facts, std::string& what);
  void joinGroup(const PortOptions& options, PortFacts& facts);
  void openTransmitRing(const PortOptions& options, PortFacts& facts);
  bool take(PortMemory& m, tpacket2_hdr* h, uint32_t status, int32_t* d);
  bool takeDatagram(PortMemory& m, int32_t* d);
  void countLost(PortMemory& m);
  void lookAtLink(PortMemory& m);
  void lookAround(PortMemory& m);
  void failing(PortMemory& m) override { lookAround(m); }
  bool filled() const { return (__atomic_load_n(&slot()->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) != 0; }
  bool stalled();
  bool ringTakes(int32_t k);
  void sendByRing(PortMemory& m, const int32_t* d, int32_t k);
  tpacket2_hdr* slot() const { return reinterpret_cast<tpacket2_hdr*>(ring_ + (next_ / kBlockSlots) * kBlockBytes + (next_ % kBlockSlots) * kSlotBytes); }
  int refuse(std::string& what, const std::string& text, int err) const {
    what = "packet:" + name_ + ": " + text;
    return err;
  }

  int ifindex_ = 0;
  std::string name_;
  uint8_t* ring_ = nullptr;
  size_t ringBytes_ = 0;
  uint32_t slots_ = 0, next_ = 0;
  Datagrams split_;  // of the slot that is next
  int64_t lookedAt_ = 0;
  // Sending may be another thread's business: nothing below is the receiver's.
  int64_t fullSince_ = 0;
  TransmitRing transmit_;
  VnetHeader vnet_[kBatch];
  mmsghdr messages_[kBatch] = {};
  iovec iov_[kBatch][kFrameIovecs];
};

int Packet::findInterface(const PortOptions& options, PortFacts& facts, std::string& what) {
  ifreq r{};
  auto request = [&](unsigned long code) {
    const int value = r.ifr_mtu;
    r = ifreq{};
    r.ifr_mtu = value;
    snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name_.c_str());
    return ioctl(fd_, code, &r) == 0 ? 0 : errno;
  };
  int err = request(SIOCGIFINDEX);
  if (err == ENODEV) return refuse(what, "there is no such interface (`ip link` lists them)", err);
  if (err != 0) return refuse(what, "cannot find the interface", err);
  ifindex_ = r.ifr_ifindex;
  if ((err = request(SIOCGIFFLAGS)) != 0) return refuse(what, "cannot read its flags", err);
  if ((r.ifr_flags & IFF_LOOPBACK) != 0) return refuse(what, "is the loopback, where the kernel owns every address and there is no link; name a NIC or a veth", EINVAL);
  if ((r.ifr_flags & IFF_UP) == 0) return refuse(what, "the interface is down (ip link set " + name_ + " up)", ENETDOWN);
  if ((err = request(SIOCGIFHWADDR)) != 0) return refuse(what, "cannot read its address", err);
  if (r.ifr_hwaddr.sa_family != ARPHRD_ETHER) return refuse(what, "carries no Ethernet", EINVAL);
  memcpy(facts.kernelMac, r.ifr_hwaddr.sa_data, 6);
  if ((err = request(SIOCGIFMTU)) != 0) return refuse(what, "cannot read its MTU", err);
  facts.mtu = r.ifr_mtu < options.mtu ? r.ifr_mtu : options.mtu;
  return 0;
}

// The header first: with a ring in place the kernel refuses to change it.
int Packet::makeRing(const PortOptions& options, PortFacts& facts, std::string& what) {
  const int one = 1, version = TPACKET_V2;
  if (setsockopt(fd_, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0) return refuse(what, "PACKET_VERSION 2 refused", errno);
  if (setsockopt(fd_, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) != 0) return refuse(what, "PACKET_VNET_HDR refused (needs Linux 4.6)", errno);
  // Frames of the kernel's own to others: not before 4.20 refused here, then `take` sorts them out.
  setsockopt(fd_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
  const uint32_t blocks = (static_cast<uint32_t>(options.rxSlots) + kBlockSlots - 1) / kBlockSlots;
  tpacket_req q{};
  q.tp_block_size = kBlockBytes;
  q.tp_block_nr = blocks;
  q.tp_frame_size = kSlotBytes;
  q.tp_frame_nr = blocks * kBlockSlots;
  if (setsockopt(fd_, SOL_PACKET, PACKET_RX_RING, &q, sizeof q) != 0) return refuse(what, "no receive ring of " + std::to_string(blocks) + " MiB (lower packet.rx-slots)", errno);
  ringBytes_ = static_cast<size_t>(blocks) * kBlockBytes;
  void* p = mmap(nullptr, ringBytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (p == MAP_FAILED) return refuse(what, "cannot map its ring", errno);
  ring_ = static_cast<uint8_t*>(p);
  slots_ = q.tp_frame_nr;
  facts.slots = static_cast<int32_t>(slots_);
  // One super-segment has a truesize of about 90 KiB: the default of 208 KiB would let two wait. Without privilege, up to wmem_max.
  if (setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes, sizeof kSendBufferBytes) != 0)
    setsockopt(fd_, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
  return 0;
}

// From bind on frames come: the filter stands before it.
int Packet::listen(const PortOptions& options, PortFacts& facts, std::string& what) {
  sock_fprog filter{static_cast<unsigned short>(options.filter.size()), const_cast<sock_filter*>(options.filter.data())};
  if (setsockopt(fd_, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0) return refuse(what, "SO_ATTACH_FILTER refused", errno);
  sockaddr_ll a{};
  a.sll_family = AF_PACKET;
  a.sll_protocol = htons(ETH_P_ALL);
  a.sll_ifindex = ifindex_;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return refuse(what, "bind", errno);
  // Our address beside the kernel's. A NIC that filters takes it into its filter, any other goes promiscuous by itself.
  packet_mreq m{};
  m.mr_ifindex = ifindex_;
  m.mr_type = PACKET_MR_UNICAST;
  m.mr_alen = 6;
  memcpy(m.mr_address, options.mac, 6);
  if (memcmp(options.mac, facts.kernelMac, 6) == 0 || setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m) == 0) return 0;
  facts.reason = std::string("its address filter takes no second address (") + strerror(errno) + ")";
  m = packet_mreq{};
  m.mr_ifindex = ifindex_;
  m.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &m, sizeof m) != 0) return refuse(what, "takes neither a second address nor promiscuous mode", errno);
  return 0;
}

// The queue's place in the group is its number: queues are opened in order. `group` -1 is a group to be made.
void Packet::joinGroup(const PortOptions& options, PortFacts& facts) {
  auto join = [&](int type, int flags) {
    const int id = options.group < 0 ? 0 : options.group;  // 0 with UNIQUEID: the kernel finds one
    const int value = (id & 0xffff) | (type | flags) << 16;
    return setsockopt(fd_, SOL_PACKET, PACKET_FANOUT, &value, sizeof value) == 0;
  };
  auto joinAs = [&](int type) {
    const int unique = options.group < 0 ? PACKET_FANOUT_FLAG_UNIQUEID : 0;
    return join(type, unique | PACKET_FANOUT_FLAG_IGNORE_OUTGOING) || (errno == EINVAL && join(type, unique));
  };
  facts.group = -1;
  sock_fprog program{static_cast<unsigned short>(options.steer.size()), const_cast<sock_filter*>(options.steer.data())};
  const bool byHash = options.groupByHash || !joinAs(PACKET_FANOUT_CBPF);
  if (byHash) {
    if (!options.groupByHash) facts.groupReason = std::string("PACKET_FANOUT_CBPF refused: ") + strerror(errno);
    if (!joinAs(PACKET_FANOUT_HASH)) {
      facts.groupReason += std::string(facts.groupReason.empty() ? "" : "; ") + "PACKET_FANOUT_HASH refused: " + strerror(errno);
      return;
    }
  } else if (options.group < 0 && setsockopt(fd_, SOL_PACKET, PACKET_FANOUT_DATA, &program, sizeof program) != 0) {
    // A group without a program gives everything to its first queue.
    facts.groupReason = std::string("PACKET_FANOUT_DATA refused: ") + strerror(errno);
    return;
  }
  int value = 0;
  socklen_t bytes = sizeof value;
  if (getsockopt(fd_, SOL_PACKET, PACKET_FANOUT, &value, &bytes) != 0) return;
  facts.group = value & 0xffff;
  facts.groupByHash = byHash;
}

int Packet::open(const PortOptions& options, PortFacts& facts, std::string& what) {
  name_ = facts.name = options.name;
  // Protocol 0: not a frame before everything is in place.
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    const int err = errno;
    if (err == EPERM || err == EACCES) return refuse(what, "cannot open a packet socket (run as root, or give the process CAP_NET_RAW)", err);
    return refuse(what, "cannot open a packet socket", err);
  }
  int err = makeWake();
  if (err != 0) return refuse(what, "eventfd", err);
  err = findInterface(options, facts, what);
  if (err == 0) err = makeRing(options, facts, what);
  if (err == 0) err = listen(options, facts, what);
  if (err != 0) return err;
  facts.rxChecksum = facts.txChecksum = facts.tso = true;
  if (options.queues > 1) joinGroup(options, facts);
  openTransmitRing(options, facts);
  return 0;
}

// A veth has no queue, and hands a frame over while it is sent: whichever way out of two, frames keep their order. A device with a
// queueing discipline is left to it.
void Packet::openTransmitRing(const PortOptions& options, PortFacts& facts) {
  if (!options.transmitRing) return void(facts.transmitReason = "switched off (packet.transmit-ring: false)");
  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  ifreq r{};
  snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name_.c_str());
  r.ifr_data = reinterpret_cast<char*>(&driver);
  if (ioctl(fd_, SIOCETHTOOL, &r) != 0 || strncmp(driver.driver, "veth", sizeof driver.driver) != 0) facts.transmitReason = "for a veth only";
  else facts.transmitRing = transmit_.open(ifindex_, static_cast<uint32_t>(options.queue), facts.transmitReason);
}

// A frame of the ring into pool frames. False: it was dropped and counted, or is none of ours.
bool Packet::take(PortMemory& m, tpacket2_hdr* h, uint32_t status, int32_t* d) {
  const Frames& t = m.frames;
  const uint32_t mac = h->tp_mac, snap = h->tp_snaplen;
  const auto* from = reinterpret_cast<const sockaddr_ll*>(reinterpret_cast<uint8_t*>(h) + TPACKET_ALIGN(sizeof(tpacket2_hdr)));
  if (from->sll_pkttype == PACKET_OUTGOING) return false;
  // A slot that was cut holds no frame; all else the kernel cannot have written.
  if (snap != h->tp_len || snap < 14 || snap > kSlotBytes || mac > kSlotBytes - snap || mac < TPACKET2_HDRLEN + kVnetBytes) {
    m.own[P_DROPS + DROP_TRUNCATED]++;
    return false;
  }
  uint8_t* p = reinterpret_cast<uint8_t*>(h) + mac;
  int32_t len = static_cast<int32_t>(snap);
  VnetHeader v;
  memcpy(&v, p - kVnetBytes, kVnetBytes);
  if ((status & TP_STATUS_VLAN_VALID) != 0) {
    // The kernel took the tag out of the frame; back in, over the header that was read, so that all ports look alike.
    p -= kVlanBytes;
    len += kVlanBytes;
    memmove(p, p + kVlanBytes, 12);
    put16(p + 12, (status & TP_STATUS_VLAN_TPID_VALID) != 0 ? h->tp_vlan_tpid : ETH_P_8021Q);
    put16(p + 14, h->tp_vlan_tci);
  }
  const int32_t free = m.own[P_FREE];
  const int32_t* stack = m.own + P_STACK + free - 1;
  uint8_t* to = t.packet + t.offset[*stack] + t.headroom;
  if (!isGso(v)) {
    if (len > t.frameBytes - t.headroom) {
      m.own[P_DROPS + DROP_TRUNCATED]++;
      return false;
    }
    const bool vouched = (v.flags & (VNET_NEEDS_CSUM | VNET_DATA_VALID)) != 0;
    if (vouched) memcpy(to, p, static_cast<size_t>(len));
    const bool right = !vouched && copyVerified(to, p, len);
    describeFrame(m, d, v, len, TrainPlan{len, 0, 1}, right);
    return true;
  }
  if (v.gsoType == VNET_GSO_UDP_L4 && split_.begin(v, p, len, t.frameBytes - t.headroom)) return takeDatagram(m, d);
  TrainPlan plan;
  const int32_t reason = planTrain(t, v, p, len, len, free, plan);
  if (reason != DROP_NONE) {
    m.own[P_DROPS + reason]++;
    return false;
  }
  int32_t done = plan.hdr + plan.gso < len ? plan.hdr + plan.gso : len;
  memcpy(to, p, static_cast<size_t>(done));
  for (int32_t k = 1; k < plan.links; k++) {
    const int32_t piece = plan.gso < len - done ? plan.gso : len - done;
    memcpy(t.packet + t.offset[stack[-k]] + t.headroom + plan.hdr, p + done, static_cast<size_t>(piece));
    done += piece;
  }
  describeFrame(m, d, v, len, plan, false);
  return true;
}

// One datagram of the super-segment in the slot; the slot stays ours until the last is out.
bool Packet::takeDatagram(PortMemory& m, int32_t* d) {
  const Frames& t = m.frames;
  const int32_t len = split_.next(t.packet + t.offset[m.own[P_STACK + m.own[P_FREE] - 1]] + t.headroom);
  VnetHeader v{};
  v.flags = VNET_NEEDS_CSUM;
  describeFrame(m, d, v, len, TrainPlan{len, 0, 1}, false);
  return true;
}

// hot: per burst
int32_t Packet::rxBurst(PortMemory& m, int32_t* desc, int32_t max) {
  int32_t n = 0;
  bool losing = false;
  // Without a free frame what comes stays in the ring.
  while (n < max && m.own[P_FREE] > 0 && !closed_.load(std::memory_order_relaxed)) {
    tpacket2_hdr* h = slot();
    const uint32_t status = __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE);
    if ((status & TP_STATUS_USER) == 0) break;
    losing |= (status & TP_STATUS_LOSING) != 0;
    if (split_.left() ? takeDatagram(m, desc + n * DESC_WORDS) : take(m, h, status, desc + n * DESC_WORDS)) n++;
    if (split_.left()) continue;
    __atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    next_ = next_ + 1 == slots_ ? 0 : next_ + 1;
  }
  if (losing) countLost(m);
  return n;
}

// The kernel's count of frames that found no slot; reading it clears it.
void Packet::countLost(PortMemory& m) {
  tpacket_stats s{};
  socklen_t bytes = sizeof s;
  if (getsockopt(fd_, SOL_PACKET, PACKET_STATISTICS, &s, &bytes) == 0) m.own[P_DROPS + DROP_DEVICE_RING] += static_cast<int32_t>(s.tp_drops);
}

// Whether the device has been full for longer than it may.
bool Packet::stalled() {
  const int64_t now = nowNs();
  if (fullSince_ == 0) fullSince_ = now;
  return now - fullSince_ > kStallNs;
}

// Whether the frames gathered first are all whole ones that fit.
bool Packet::ringTakes(int32_t k) {
  if (!transmit_.active() || transmit_.room() < k) return false;
  for (int32_t i = 0; i < k; i++)
    if (messages_[i].msg_hdr.msg_iovlen != 1 || iov_[i][0].iov_len > static_cast<size_t>(kVnetBytes + TransmitRing::kChunkBytes)) return false;
  return true;
}

// Sends the `k` frames gathered first; what the device refuses is gone.
void Packet::sendByRing(PortMemory& m, const int32_t* d, int32_t k) {
  for (int32_t i = 0; i < k; i++) {
    const int32_t len = static_cast<int32_t>(iov_[i][0].iov_len) - kVnetBytes;
    const uint8_t* eth = static_cast<uint8_t*>(iov_[i][0].iov_base) + kVnetBytes;
    uint8_t* to = transmit_.next();
    memcpy(to, eth, static_cast<size_t>(len));
    if ((vnet_[i].flags & VNET_NEEDS_CSUM) != 0) {
      // The field holds the pseudo-header's sum. A UDP checksum of 0 would mean none (RFC 768).
      const int32_t start = vnet_[i].csumStart, field = start + vnet_[i].csumOffset;
      const uint32_t sum = ~sumBytes(to + start, static_cast<size_t>(len - start)) & 0xffff;
      put16(to + field, sum == 0 && vnet_[i].csumOffset == 6 ? 0xffff : sum);
    }
    transmit_.put(len);
  }
  int err = 0;
  const int32_t refused = transmit_.send(&err);
  if (refused > 0) {
    if (err == ENETDOWN || err == ENXIO) m.own[P_LINK] = err == ENXIO ? ENODEV : err;
    m.own[P_ERRNO] = err;
    m.own[P_DROPS + DROP_TX_DEVICE] += refused;
  } else if (m.own[P_LINK] != 0) {
    m.own[P_LINK] = 0;
  }
  for (int32_t i = 0; i < k; i++) m.takeHome(d[i * DESC_WORDS]);
}

// hot: per burst
int32_t Packet::txBurst(PortMemory& m, int32_t* desc, int32_t n) {
  int32_t i = 0;
  while (i < n) {
    int32_t k = 0;
    for (; k < kBatch && i + k < n; k++) {
      int32_t pieces = 0;
      if (!gatherFrame(m, desc + (i + k) * DESC_WORDS, vnet_[k], iov_[k], &pieces)) break;
      messages_[k].msg_hdr.msg_iov = iov_[k];
      messages_[k].msg_hdr.msg_iovlen = static_cast<size_t>(pieces);
    }
    int32_t* d = desc + i * DESC_WORDS;
    if (k == 0) {
      m.own[P_DROPS + DROP_BAD_DESCRIPTOR]++;
      i++;
      // Without a valid generation the frame is somebody else's by now.
      if (m.frames.believe(d) != nullptr) m.takeHome(d[D_FRAME]);
      continue;
    }
    if (ringTakes(k)) {
      sendByRing(m, d, k);
      i += k;
      continue;
    }
    int sent = sendmmsg(fd_, messages_, static_cast<unsigned>(k), MSG_DONTWAIT);
    if (sent < 0) {
      const int err = errno;
      if (err == EINTR) continue;
      if ((err == EAGAIN || err == ENOBUFS) && !stalled()) return i;
      if (err == ENETDOWN || err == ENXIO) m.own[P_LINK] = err == ENXIO ? ENODEV : err;
      m.own[P_ERRNO] = err;
      m.own[P_DROPS + DROP_TX_DEVICE]++;
      sent = 1;
    } else {
      fullSince_ = 0;
      if (m.own[P_LINK] != 0) m.own[P_LINK] = 0;
    }
    for (int32_t j = 0; j < sent; j++) m.takeHome(d[j * DESC_WORDS]);
    i += sent;
  }
  return n;
}

// Up again, down, or gone: after a removal the kernel forgets the socket's interface for good.
void Packet::lookAtLink(PortMemory& m) {
  sockaddr_ll a{};
  socklen_t bytes = sizeof a;
  if (closed_.load() || getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &bytes) != 0) return;
  ifreq r{};
  r.ifr_ifindex = ifindex_;
  if (a.sll_ifindex != ifindex_ || ioctl(fd_, SIOCGIFNAME, &r) != 0 || ioctl(fd_, SIOCGIFFLAGS, &r) != 0) m.own[P_LINK] = ENODEV;
  else m.own[P_LINK] = (r.ifr_flags & IFF_UP) != 0 ? 0 : ENETDOWN;
}

// Before a sleep, when a few system calls cost nothing: what was lost, and what the socket has to say. Its error must be read, or
// every sleep would end with it at once.
void Packet::lookAround(PortMemory& m) {
  countLost(m);
  int err = 0;
  socklen_t bytes = sizeof err;
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &err, &bytes) != 0) return;
  if (err != 0) m.own[P_ERRNO] = err;
  if (err != 0 || m.own[P_LINK] != 0) lookAtLink(m);
}

bool Packet::wait(PortMemory& m, int bellFd, int ms) {
  if (closed_.load()) return false;
  // The last look before sleeping: the ring is memory.
  if (ms == 0 && bellFd < 0) {
    if (filled()) return true;
    const int64_t now = nowNs();
    if (now - lookedAt_ < kLookNs) return false;
    lookedAt_ = now;
    lookAround(m);
    return filled();
  }
  return PolledDevice::wait(m, bellFd, ms);
}

// The socket goes at once, with its address in the NIC's filter and its place in the group: a mapping would keep it alive, so
// zeroed memory takes the ring's place under a broker that may be inside a burst, and /dev/null the socket's.
void Packet::close() {
  if (closed_.exchange(true)) return;
  if (ring_ != nullptr && mmap(ring_, ringBytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) return;
  blank();
  transmit_.close();
}

}  // namespace

Device* makePacket() { return new Packet(); }

}  // namespace flowring
