/**
 * Why a frame was dropped. The wire path never throws: it drops, and bumps the counter of one of these reasons.
 * `received = delivered + Σ drops(reason)` holds for every thread and is tested.
 */
export const DROP_NONE = 0;
/** Descriptor: frame id out of range, stale generation, or data outside the frame. */
export const DROP_BAD_DESCRIPTOR = 1;
/** Frame shorter than its headers say. */
export const DROP_TRUNCATED = 2;
/** EtherType, or IP version, that nobody here speaks. */
export const DROP_UNKNOWN_PROTOCOL = 3;
/** L2 or L3 destination is not ours. */
export const DROP_NOT_FOR_US = 4;
export const DROP_IP_HEADER = 5;
export const DROP_IP_CHECKSUM = 6;
export const DROP_L4_CHECKSUM = 7;
export const DROP_TCP_HEADER = 8;
export const DROP_UDP_HEADER = 9;
export const DROP_ICMP = 10;
export const DROP_ARP = 11;
/** Fragment: reassembly is not supported. */
export const DROP_FRAGMENT = 12;
/** Source address that must never appear on the wire (multicast, broadcast, ourselves). */
export const DROP_BAD_SOURCE = 13;
/** Worker ring and its overflow budget full, by class. */
export const DROP_RING_FULL_DATA = 14;
export const DROP_RING_FULL_SYN = 15;
export const DROP_RING_FULL_ARP = 16;
/** No free frame to receive into. */
export const DROP_NO_FRAME = 17;
/** Device refused to send, or its queue stayed full. */
export const DROP_TX_DEVICE = 18;
/** No neighbour: resolution failed or the waiting queue was full. */
export const DROP_NO_NEIGHBOUR = 19;
/** No route to the destination. */
export const DROP_NO_ROUTE = 20;
/** TCP: no connection and no listener (answered with RST). */
export const DROP_NO_CONNECTION = 21;
/** TCP: listen backlog full. */
export const DROP_BACKLOG = 22;
/** Connection table full, or no chunk left for what arrived. */
export const DROP_NO_MEMORY = 23;
/** TCP: segment not acceptable (RFC 9293 section 3.10.7.4, first step), or PAWS. */
export const DROP_UNACCEPTABLE = 24;
/** TCP: duplicate or beyond what the out-of-order queue may hold. */
export const DROP_REASSEMBLY = 25;
/** Impairment of the switch: the seeded loss. */
export const DROP_IMPAIRMENT = 26;
/** Switch: no port has that MAC address and flooding is off, or the peer's ring is full. */
export const DROP_SWITCH = 27;
/** Frame for a protocol this stack does not offer on that port. */
export const DROP_NO_LISTENER = 28;
/** Reply suppressed by a rate limit. */
export const DROP_RATE_LIMIT = 29;
/** VLAN tag that is not configured here. */
export const DROP_VLAN = 30;
/** Thrown away on purpose while the worker drains. */
export const DROP_CLOSING = 31;
/** The device's own receive ring was full: the kernel dropped before we saw the frame. */
export const DROP_DEVICE_RING = 32;
/** Was in a worker's hands, or in its rings, when the worker died. */
export const DROP_WORKER_DIED = 33;
/** UDP: the socket holds as many unread bytes as udp.rcvbuf allows. */
export const DROP_RECEIVE_BUFFER = 34;
export const DROP_REASONS = 35;

/** Drops that are not of received frames: they happened on the way out. */
export const OUTGOING_DROPS: readonly number[] = [DROP_TX_DEVICE, DROP_NO_NEIGHBOUR, DROP_NO_ROUTE, DROP_SWITCH];

export const DROP_NAME: readonly string[] = [
  'none',
  'badDescriptor',
  'truncated',
  'unknownProtocol',
  'notForUs',
  'ipHeader',
  'ipChecksum',
  'l4Checksum',
  'tcpHeader',
  'udpHeader',
  'icmp',
  'arp',
  'fragment',
  'badSource',
  'ringFullData',
  'ringFullSyn',
  'ringFullArp',
  'noFrame',
  'txDevice',
  'noNeighbour',
  'noRoute',
  'noConnection',
  'backlog',
  'noMemory',
  'unacceptable',
  'reassembly',
  'impairment',
  'switch',
  'noListener',
  'rateLimit',
  'vlan',
  'closing',
  'deviceRing',
  'workerDied',
  'receiveBuffer',
];
