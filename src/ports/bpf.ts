/**
 * Classic BPF programs for packet sockets (linux: Documentation/networking/filter.rst), two words an instruction as struct
 * sock_filter lies in memory: what a socket lets in, and which queue of a fanout group a frame goes to.
 */
import { ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import { flowHash, PORT_SEED } from '../wire/flow.ts';
import { OFF_DST, OFF_FRAGMENT, OFF_PROTOCOL, OFF_SRC, PROTO_TCP, PROTO_UDP } from '../wire/ipv4.ts';

// include/uapi/linux/bpf_common.h and filter.h
export const LD_W = 0x20;
export const LD_H = 0x28;
export const LD_B = 0x30;
export const LD_H_X = 0x48;
export const LD_MEM = 0x60;
export const LD_IMM = 0x00;
export const LDX_MEM = 0x61;
export const LDX_IP_HEADER = 0xb1;
export const ST = 0x02;
export const ADD_K = 0x04;
export const AND_K = 0x54;
export const LSH_K = 0x64;
export const RSH_K = 0x74;
export const XOR_K = 0xa4;
export const XOR_X = 0xac;
export const OR_X = 0x4c;
export const JEQ_K = 0x15;
export const JSET_K = 0x45;
export const RET_K = 0x06;
export const RET_A = 0x16;
/** Loads from here give the frame's EtherType in host order, a VLAN tag looked through. */
export const AD_PROTOCOL = -0x1000;

const EVERYTHING = -1;
/** Set in the flags and offset of all fragments, the first included. */
const FRAGMENT_BITS = 0x3fff;

type Instruction = readonly [code: number, k: number, jumpTrue?: number, jumpFalse?: number];

function assemble(program: readonly Instruction[]): Int32Array {
  const words = new Int32Array(program.length * 2);
  program.forEach(([code, k, jt = 0, jf = 0], i) => {
    words[2 * i] = code | (jt << 16) | (jf << 24);
    words[2 * i + 1] = k;
  });
  return words;
}

/** Lets in what is addressed to `hi`:`lo`, broadcast and multicast. Runs with the Ethernet header at offset 0. */
export function addressFilter(hi: number, lo: number): Int32Array {
  return assemble([
    [LD_W, 0],
    [JEQ_K, hi, 0, 2],
    [LD_H, 4],
    [JEQ_K, lo, 2, 0],
    [LD_B, 0],
    [JSET_K, 1, 0, 1],
    [RET_K, EVERYTHING],
    [RET_K, 0],
  ]);
}

/**
 * The flow hash of wire/flow.ts, which the kernel reduces modulo the queues of the group, as `steering: modulo` and the mask
 * of a listening port do modulo workers: so a flow's frames come to the queue of the worker that owns it. Fragments of TCP and
 * UDP hash by addresses, what is neither, or no IPv4, gives 0. Runs with the network header at offset 0.
 *
 * The hash is linear over GF(2) in the folded word x: the sum of the hashes of its bits.
 */
export function steerProgram(): Int32Array {
  const X = 0;
  const OTHER = 1;
  const hash: Instruction[] = [
    [LD_IMM, 0],
    [ST, OTHER],
  ];
  for (let bit = 0; bit < 16; bit++)
    hash.push([LD_MEM, X], [JSET_K, 1 << bit, 0, 3], [LD_MEM, OTHER], [XOR_K, flowHash(1 << bit, 0, 0, 0) & 0xffff], [ST, OTHER]);
  // High half equal to the low half.
  hash.push([LD_MEM, OTHER], [LSH_K, 16], [LDX_MEM, OTHER], [OR_X, 0], [RET_A, 0]);
  const ports: Instruction[] = [
    [LDX_IP_HEADER, 0],
    [LD_H_X, 0],
    [ADD_K, PORT_SEED],
    [ST, OTHER],
    [LD_H_X, 2],
    [ADD_K, PORT_SEED],
    [LDX_MEM, OTHER],
    [XOR_X, 0],
    [LDX_MEM, X],
    [XOR_X, 0],
    [AND_K, 0xffff],
    [ST, X],
  ];
  return assemble([
    [LD_W, AD_PROTOCOL],
    [JEQ_K, ETHERTYPE_IPV4, 1, 0],
    [RET_K, 0],
    [LD_B, OFF_PROTOCOL],
    [JEQ_K, PROTO_TCP, 2, 0],
    [JEQ_K, PROTO_UDP, 1, 0],
    [RET_K, 0],
    // x: the halves of both addresses, folded
    [LD_W, OFF_SRC],
    [ST, X],
    [LD_W, OFF_DST],
    [LDX_MEM, X],
    [XOR_X, 0],
    [ST, X],
    [RSH_K, 16],
    [LDX_MEM, X],
    [XOR_X, 0],
    [AND_K, 0xffff],
    [ST, X],
    [LD_H, OFF_FRAGMENT],
    [JSET_K, FRAGMENT_BITS, ports.length, 0],
    ...ports,
    ...hash,
  ]);
}
