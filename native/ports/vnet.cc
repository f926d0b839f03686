#include "vnet.h"

#include "../burst/checksum.h"

namespace flowring {

int32_t tcpHeaderBytes(const uint8_t* p, int32_t have) {
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

int32_t planTrain(const Frames& t, const VnetHeader& v, const uint8_t* head, int32_t have, int32_t len, int32_t free, TrainPlan& plan) {
  const int32_t hdr = tcpHeaderBytes(head, have);
  const int32_t size = v.gsoSize;
  const int32_t room = t.frameBytes - t.headroom - hdr;
  if (hdr == 0 || (v.gsoType & ~VNET_GSO_ECN) != VNET_GSO_TCPV4 || size < 1 || size > room || len <= hdr) return DROP_TRUNCATED;
  const int32_t link = size * (room / size), links = (len - hdr + link - 1) / link;
  if (links > free) return DROP_NO_FRAME;
  if (links > TRAIN_LINKS_MAX) return DROP_TRUNCATED;
  plan = TrainPlan{hdr, link, links, link > size ? size : 0};
  return DROP_NONE;
}

void describeFrame(PortMemory& m, int32_t* d, const VnetHeader& v, int32_t len, const TrainPlan& plan, bool vouched) {
  const Frames& t = m.frames;
  const int32_t* stack = m.own + P_STACK + m.own[P_FREE] - 1;
  const int32_t first = *stack, links = plan.links, gso = plan.gso;
  const int32_t linear = links == 1 ? len : plan.hdr + gso;
  for (int32_t k = 0, left = len - linear; k < links; k++) {
    const int32_t f = stack[-k];
    t.owner[f] = OWNER_BROKER | m.own[P_HOST];
    t.next[f] = k + 1 < links ? stack[-k - 1] : -1;
    if (k == 0) {
      t.length[f] = linear;
    } else {
      t.length[f] = left < gso ? left : gso;
      left -= t.length[f];
    }
  }
  m.own[P_FREE] -= links;
  int32_t flags = vouched ? F_CSUM_OK : 0;
  if ((v.flags & VNET_NEEDS_CSUM) != 0) flags = F_CSUM_PARTIAL | F_CSUM_OK;
  else if ((v.flags & VNET_DATA_VALID) != 0) flags = F_CSUM_OK;
  if (links > 1) flags |= F_TRAIN;
  d[D_FRAME] = first;
  d[D_DATA] = (t.headroom << 16) | linear;
  d[D_TOTAL] = len;
  d[D_REGION_GEN] = static_cast<int32_t>(static_cast<uint32_t>(t.region) << 16 | (static_cast<uint32_t>(t.generation[first]) & GENERATION_MASK));
  d[D_OFFSETS] = 0;
  d[D_FLAGS_GSO] = static_cast<int32_t>(static_cast<uint32_t>(links > 1 ? gso : 0) << 16) | flags;
  d[D_SEGS_VLAN] = plan.size << 16 | links;
  d[D_HASH] = 0;
}

static bool completeFrame(PortMemory& m, const int32_t* d, uint8_t* eth, VnetHeader& v, iovec* iov, int32_t* count) {
  const Frames& t = m.frames;
  const int32_t flags = d[D_FLAGS_GSO];
  const bool train = (flags & F_TRAIN) != 0;
  const auto size = static_cast<int32_t>(static_cast<uint32_t>(d[D_SEGS_VLAN]) >> 16);
  if (!train && size == 0 && (flags & F_CSUM_PARTIAL) == 0) return true;
  const int32_t l3 = (d[D_OFFSETS] >> 8) & 0xff, l4 = static_cast<int32_t>(static_cast<uint32_t>(d[D_OFFSETS]) >> 16);
  const int32_t hdr = headerBytes(d, eth);
  if (hdr == 0) return false;
  const bool udp = eth[l3 + 9] == 17;
  v.flags = VNET_NEEDS_CSUM;
  v.csumStart = static_cast<uint16_t>(l4);
  v.csumOffset = udp ? 6 : 16;
  if (!train && size == 0) return true;
  const int32_t pay = static_cast<int32_t>(static_cast<uint32_t>(d[D_DATA]) >> 16) + hdr;
  const auto gso = static_cast<uint16_t>(size != 0 ? size : static_cast<int32_t>(static_cast<uint32_t>(flags) >> 16));
  if (udp || gso == 0 || (train && !t.linksFit(d, pay))) return false;
  if ((flags & F_CSUM_PARTIAL) == 0)
    put16(eth + l4 + 16, fold(pseudoSum4(be32(eth + l3 + 12), be32(eth + l3 + 16), 6, static_cast<uint32_t>(d[D_TOTAL] - l4))));
  if (d[D_TOTAL] - hdr > gso) {
    v.gsoType = VNET_GSO_TCPV4;
    v.gsoSize = gso;
    v.hdrLen = static_cast<uint16_t>(hdr);
  }
  if (train)
    for (int32_t f = t.next[d[D_FRAME]]; f != -1; f = t.next[f]) iov[(*count)++] = {t.packet + t.offset[f] + pay, static_cast<size_t>(t.length[f])};
  return true;
}

bool gatherFrame(PortMemory& m, const int32_t* d, VnetHeader& v, iovec* iov, int32_t* count) {
  const Frames& t = m.frames;
  uint8_t* eth = t.believe(d);
  const int32_t linear = d[D_DATA] & 0xffff;
  v = VnetHeader{};
  if (eth == nullptr || linear < 14 || ((d[D_FLAGS_GSO] & F_TRAIN) != 0 ? !t.chainSound(d) : d[D_TOTAL] != linear)) return false;
  const bool room = static_cast<int32_t>(static_cast<uint32_t>(d[D_DATA]) >> 16) >= kVnetBytes;
  if (room) {
    iov[0] = {eth - kVnetBytes, static_cast<size_t>(linear + kVnetBytes)};
    *count = 1;
  } else {
    iov[0] = {&v, kVnetBytes};
    iov[1] = {eth, static_cast<size_t>(linear)};
    *count = 2;
  }
  if (!completeFrame(m, d, eth, v, iov, count)) return false;
  if (room) memcpy(eth - kVnetBytes, &v, kVnetBytes);
  return true;
}

}  // namespace flowring
