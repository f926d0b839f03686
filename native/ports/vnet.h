// The virtio-net header in front of a frame (virtio 1.2 section 5.1.6; linux/virtio_net.h is no C++), and what it means for
// descriptors: a received super-segment becomes a train, a train or a partial checksum to be sent becomes a header. Ports
// whose kernel side speaks this header (TAP, AF_PACKET) differ only in how bytes come and go.
#pragma once
#include <sys/uio.h>

#include "../port.h"

namespace flowring {

constexpr uint8_t VNET_NEEDS_CSUM = 1, VNET_DATA_VALID = 2;
constexpr uint8_t VNET_GSO_NONE = 0, VNET_GSO_TCPV4 = 1, VNET_GSO_UDP_L4 = 5, VNET_GSO_ECN = 0x80;
constexpr int32_t kVnetBytes = 10;
// The header, link 0, and the further links.
constexpr int32_t kFrameIovecs = TRAIN_LINKS_MAX + 1;

struct VnetHeader {
  uint8_t flags, gsoType;
  uint16_t hdrLen, gsoSize, csumStart, csumOffset;
};
static_assert(sizeof(VnetHeader) == kVnetBytes, "virtio-net header is 10 bytes");

inline bool isGso(const VnetHeader& v) { return (v.gsoType & ~VNET_GSO_ECN) != VNET_GSO_NONE; }

// Where the bytes of a received super-segment go: `hdr` bytes of headers and `gso` of payload in link 0, `gso` in each further one;
// `size` is a segment's payload where a link has several, else 0.
struct TrainPlan {
  int32_t hdr = 0, gso = 0, links = 0, size = 0;
};

// Headers of a received super-segment: bytes to the TCP payload, 0 when it is no TCP over IPv4 that fits `have` bytes.
int32_t tcpHeaderBytes(const uint8_t* p, int32_t have);

// Plans a super-segment of `len` bytes, of which `have` stand at `head`, over at most `free` frames. DROP_NONE, or why not.
// As many whole segments share a link as a frame holds: each link costs a turn of every loop on its way.
int32_t planTrain(const Frames& t, const VnetHeader& v, const uint8_t* head, int32_t have, int32_t len, int32_t free, TrainPlan& plan);

// Descriptor and columns of a received frame of `len` bytes, in the topmost frames of the free stack, which leave it. A
// single frame has one link and `hdr` = `len`. `vouched`: its checksum was verified on the way.
void describeFrame(PortMemory& m, int32_t* d, const VnetHeader& v, int32_t len, const TrainPlan& plan, bool vouched);

// The pieces of a frame to be sent, its virtio-net header first: in the frame's headroom, so that most frames are one piece, else in
// `v`. False: it is not to be believed.
bool gatherFrame(PortMemory& m, const int32_t* d, VnetHeader& v, iovec* iov, int32_t* count);

}  // namespace flowring
