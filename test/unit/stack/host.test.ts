// ARP and the neighbour table: who is answered, who is learned, how entries age, what an attacker on the link cannot do.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { C_ARP_RX, C_ARP_TX } from '../../../src/rings/counters.ts';
import { DROP_ARP, DROP_NONE, DROP_VLAN } from '../../../src/rings/drops.ts';
import {
  MSG_CONFIRM,
  MSG_RESOLVE,
  NB_EMPTY,
  NB_FAILED,
  NB_INCOMPLETE,
  NB_REACHABLE,
  NB_STALE,
  NEIGHBOURS,
} from '../../../src/rings/hostState.ts';
import { formatIpv4 } from '../../../src/wire/ipv4.ts';
import { bytesOf, GOLDEN, goldenBytes, seededRandom } from '../wire/golden.ts';
import { arpHex, HostRig, ip, mac, OUR_MAC, OURS, PEER, PEER_MAC, replyHex, requestHex } from './hostRig.ts';

const OTHER_MAC = '02:00:00:00:00:99';
/** Clocks that wrap during the test, and ones that do not. */
const STARTS = [0, 1_000_000, 0x7fffffff - 3000, -4000];
const known = (address: string): readonly [number, number] => mac(address);
const reachable = [NB_REACHABLE, ...known(PEER_MAC)];
const stale = [NB_STALE, ...known(PEER_MAC)];

/** A rig that has asked for PEER and got its answer. */
function acquainted(start: number): HostRig {
  const rig = new HostRig(start);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.hear(bytesOf(replyHex(PEER_MAC, PEER, OUR_MAC, OURS)));
  assert.equal(rig.sees(PEER), reachable);
  rig.take();
  return rig;
}

test('a request for us is answered unicast, byte for byte, and its sender learned as STALE', () => {
  const rig = new HostRig(0);
  assert.is(rig.hear(goldenBytes('arpRequest')), DROP_NONE);
  assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, PEER_MAC, PEER)]);
  assert.equal(rig.sees(PEER), stale);
  assert.equal([rig.counters.v[C_ARP_RX], rig.counters.v[C_ARP_TX], rig.missing], [1, 1, 0]);
});

test('a request for somebody else is heard, not answered, and teaches nothing', () => {
  const rig = new HostRig(0);
  assert.is(rig.hear(bytesOf(requestHex(PEER_MAC, PEER, '192.0.2.3'))), DROP_NONE);
  assert.equal(rig.take(), []);
  assert.is(rig.sees(PEER)[0], NB_EMPTY);
});

test('replies that nobody asked for never create an entry, gratuitous or addressed to us', () => {
  const rig = new HostRig(0);
  rig.hear(goldenBytes('arpReply'));
  rig.hear(bytesOf(replyHex(PEER_MAC, PEER, PEER_MAC, PEER)));
  rig.hear(bytesOf(requestHex(PEER_MAC, PEER, PEER)));
  assert.is(rig.sees(PEER)[0], NB_EMPTY);
});

test('resolve: a broadcast request, INCOMPLETE, and the reply makes it REACHABLE', () => {
  const rig = new HostRig(0);
  const epoch = rig.view.epoch();
  rig.host.message(MSG_RESOLVE, ip(PEER));
  assert.equal(rig.take(), [requestHex(OUR_MAC, OURS, PEER)]);
  assert.is(rig.sees(PEER)[0], NB_INCOMPLETE);
  assert.is.not(rig.view.epoch(), epoch);
  assert.is(rig.host.epoch(), rig.view.epoch());
  rig.hear(goldenBytes('arpReply'));
  assert.equal(rig.sees(PEER), reachable);
  assert.equal(rig.take(), []);
});

test('no answer: three requests a second apart, FAILED for three seconds, then forgotten', () => {
  for (const start of STARTS) {
    const rig = new HostRig(start);
    rig.host.message(MSG_RESOLVE, ip(PEER));
    rig.host.message(MSG_RESOLVE, ip(PEER));
    rig.pass(2990);
    assert.equal(
      rig.sent.map((s) => (s.atMs - start) | 0),
      [0, 1000, 2000],
    );
    assert.equal(new Set(rig.take()).size, 1);
    assert.is(rig.sees(PEER)[0], NB_INCOMPLETE);
    rig.pass(60);
    assert.is(rig.sees(PEER)[0], NB_FAILED);
    rig.host.message(MSG_RESOLVE, ip(PEER));
    rig.pass(2800);
    assert.is(rig.sees(PEER)[0], NB_FAILED);
    assert.equal(rig.take(), [], 'a failed address is not asked for');
    rig.pass(300);
    assert.is(rig.sees(PEER)[0], NB_EMPTY);
    assert.is(rig.host.nextDeadlineMs(rig.nowMs), -1);
    rig.host.message(MSG_RESOLVE, ip(PEER));
    assert.is(rig.take().length, 1);
    assert.is(rig.missing, 0);
  }
});

test('a host that comes late: a packet from a FAILED address makes it usable', () => {
  const rig = new HostRig(0);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.pass(3100);
  assert.is(rig.sees(PEER)[0], NB_FAILED);
  rig.hear(goldenBytes('arpReply'));
  assert.equal(rig.sees(PEER), stale);
});

test('REACHABLE for 30 s, then STALE and usable, forgotten after ten minutes without use', () => {
  for (const start of STARTS) {
    const rig = acquainted(start);
    rig.pass(29_900, 100);
    assert.equal(rig.sees(PEER), reachable);
    rig.pass(200, 100);
    assert.equal(rig.sees(PEER), stale);
    rig.pass(599_800, 100);
    assert.equal(rig.sees(PEER), stale);
    rig.pass(300, 100);
    assert.is(rig.sees(PEER)[0], NB_EMPTY);
    assert.equal(rig.take(), [], 'nobody used it: nothing is asked');
  }
});

test('confirm keeps it REACHABLE without a packet, and makes STALE reachable again', () => {
  const rig = acquainted(0);
  for (let i = 0; i < 10; i++) {
    rig.pass(20_000, 100);
    rig.host.message(MSG_CONFIRM, ip(PEER));
    assert.equal(rig.sees(PEER), reachable);
  }
  rig.pass(31_000, 100);
  assert.equal(rig.sees(PEER), stale);
  rig.host.message(MSG_CONFIRM, ip(PEER));
  assert.equal(rig.sees(PEER), reachable);
  assert.equal(rig.take(), []);
});

test('confirm of an address that is unknown or unresolved changes nothing', () => {
  const rig = new HostRig(0);
  rig.host.message(MSG_CONFIRM, ip(PEER));
  assert.is(rig.sees(PEER)[0], NB_EMPTY);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.host.message(MSG_CONFIRM, ip(PEER));
  assert.is(rig.sees(PEER)[0], NB_INCOMPLETE);
});

test('STALE in use and never confirmed: after 5 s it is asked unicast, and the answer makes it REACHABLE', () => {
  const rig = acquainted(0);
  rig.pass(30_100);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.pass(4_900);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  assert.equal(rig.take(), []);
  rig.pass(200);
  assert.equal(rig.take(), [arpHex(1, PEER_MAC, OUR_MAC, OURS, '00:00:00:00:00:00', PEER)]);
  assert.equal(rig.sees(PEER), stale, 'usable all the while');
  rig.hear(goldenBytes('arpReply'));
  assert.equal(rig.sees(PEER), reachable);
});

test('STALE in use whose owner is gone: three unicasts, then everybody is asked, then FAILED', () => {
  const rig = acquainted(0);
  rig.pass(30_100);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.pass(5_000 + 3_000 + 3_000 + 500);
  const unicast = arpHex(1, PEER_MAC, OUR_MAC, OURS, '00:00:00:00:00:00', PEER);
  const broadcast = requestHex(OUR_MAC, OURS, PEER);
  assert.equal(rig.take(), [unicast, unicast, unicast, broadcast, broadcast, broadcast]);
  assert.is(rig.sees(PEER)[0], NB_FAILED);
});

test('confirm during the delay spares the request', () => {
  const rig = acquainted(0);
  rig.pass(30_100);
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.pass(2_000);
  rig.host.message(MSG_CONFIRM, ip(PEER));
  assert.equal(rig.sees(PEER), reachable);
  rig.pass(10_000);
  assert.equal(rig.take(), []);
});

test('a new MAC for a known address is taken, as STALE, and at most once a second', () => {
  const rig = acquainted(0);
  rig.pass(1_500);
  rig.hear(bytesOf(replyHex(OTHER_MAC, PEER, OTHER_MAC, PEER)));
  assert.equal(rig.sees(PEER), [NB_STALE, ...known(OTHER_MAC)]);
  rig.hear(bytesOf(replyHex(PEER_MAC, PEER, PEER_MAC, PEER)));
  assert.equal(rig.sees(PEER), [NB_STALE, ...known(OTHER_MAC)], 'a flip within the second is ignored');
  rig.pass(1_100);
  rig.hear(bytesOf(requestHex(PEER_MAC, PEER, OURS)));
  assert.equal(rig.sees(PEER), stale);
});

test('the same MAC said again, unasked, neither ages nor renews an entry', () => {
  const rig = acquainted(0);
  const epoch = rig.view.epoch();
  rig.pass(20_000, 100);
  rig.hear(goldenBytes('arpReply'));
  assert.is(rig.view.epoch(), epoch);
  rig.pass(10_100, 100);
  assert.equal(rig.sees(PEER), stale);
});

test('static entries: known at once, never aged, never changed by anybody, never asked for', () => {
  const rig = new HostRig(0, { statics: [[ip(PEER), ...known(PEER_MAC)]] });
  assert.equal(rig.sees(PEER), reachable);
  rig.pass(2_000);
  rig.hear(bytesOf(replyHex(OTHER_MAC, PEER, OUR_MAC, OURS)));
  rig.hear(bytesOf(requestHex(OTHER_MAC, PEER, OURS)));
  rig.host.message(MSG_RESOLVE, ip(PEER));
  rig.pass(700_000, 1000);
  assert.equal(rig.sees(PEER), reachable);
  assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, OTHER_MAC, PEER)]);
});

test('malformed packets and impossible senders are dropped as such', () => {
  const rig = new HostRig(0);
  const request = GOLDEN.arpRequest;
  const broken: Record<string, string> = {
    'hardware type': request.replace('08060001', '08060006'),
    'protocol type': request.replace('00010800', '000186dd'),
    hlen: request.replace('08000604', '08000804'),
    plen: request.replace('08000604', '08000610'),
    'oper 3': request.replace('06040001', '06040003'),
    'multicast sender MAC': requestHex('01:00:5e:00:00:01', PEER, OURS),
    'broadcast sender MAC': requestHex('ff:ff:ff:ff:ff:ff', PEER, OURS),
    'zero sender MAC': requestHex('00:00:00:00:00:00', PEER, OURS),
    'our own MAC': requestHex(OUR_MAC, PEER, OURS),
    'multicast sender': requestHex(PEER_MAC, '224.0.0.1', OURS),
    'broadcast sender': requestHex(PEER_MAC, '255.255.255.255', OURS),
    'loopback sender': requestHex(PEER_MAC, '127.0.0.1', OURS),
    'reply from 0.0.0.0': replyHex(PEER_MAC, '0.0.0.0', OUR_MAC, OURS),
    'probe for another': requestHex(PEER_MAC, '0.0.0.0', '192.0.2.7'),
  };
  for (const [what, hex] of Object.entries(broken)) {
    assert.is(rig.hear(bytesOf(hex)), DROP_ARP, what);
    assert.equal(rig.take(), [], what);
  }
  assert.is(rig.sees(PEER)[0], NB_EMPTY);
  assert.is(rig.counters.v[C_ARP_RX], Object.keys(broken).length);
});

test('every truncation of request and reply is dropped; padding behind is not read', () => {
  for (const name of ['arpRequest', 'arpReply'] as const) {
    const rig = new HostRig(0);
    const bytes = goldenBytes(name);
    for (let n = 0; n < bytes.length; n++) assert.is(rig.hear(bytes.slice(0, n)), DROP_ARP, `${name} at ${n}`);
    assert.is(rig.hear(Uint8Array.of(...bytes, ...new Uint8Array(18))), DROP_NONE);
    assert.equal([rig.take().length, rig.missing], [name === 'arpRequest' ? 1 : 0, 0]);
  }
});

test('every flipped bit of a request is dropped, or believed as what it then says, and nothing else', () => {
  const bytes = goldenBytes('arpRequest');
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const rig = new HostRig(0);
    const b = bytes.slice();
    b[bit >> 3]! ^= 128 >> (bit & 7);
    const hex = Buffer.from(b).toString('hex');
    const reason = rig.hear(b);
    const sent = rig.take();
    const sha = hex.slice(44, 56).replace(/..(?=.)/g, '$&:');
    const spa = formatIpv4(Number.parseInt(hex.slice(56, 64), 16) | 0);
    const forUs = hex.slice(76, 84) === 'c0000202';
    const at = bit >> 3;
    if (at >= 14 && at < 22) assert.is(reason, DROP_ARP, `bit ${bit}: type, lengths or oper`);
    if (reason === DROP_ARP) {
      assert.equal(
        sent.filter((s) => !s.endsWith('c0000202')),
        [],
        `bit ${bit}: at most our address is defended`,
      );
    } else if (forUs && !(at >= 14 && at < 22)) {
      assert.equal(sent, [replyHex(OUR_MAC, OURS, sha, spa)], `bit ${bit}`);
    } else {
      assert.equal(sent, [], `bit ${bit}`);
    }
    assert.is(rig.missing, 0);
  }
});

test('ARP in a VLAN that is not ours is dropped; a priority tag is looked through', () => {
  const tagged = (tci: number): Uint8Array => {
    const b = goldenBytes('arpRequest');
    return Uint8Array.of(...b.slice(0, 12), 0x81, 0, tci >> 8, tci & 255, ...b.slice(12));
  };
  const rig = new HostRig(0);
  assert.is(rig.hear(tagged(7)), DROP_VLAN);
  assert.equal(rig.take(), []);
  assert.is(rig.hear(tagged(0xe000)), DROP_NONE);
  assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, PEER_MAC, PEER)]);
  assert.is(rig.hear(tagged(0xe000).slice(0, 45)), DROP_ARP);
});

test('start announces our address twice, two seconds apart (RFC 5227)', () => {
  for (const start of STARTS) {
    const rig = new HostRig(start);
    rig.host.start();
    assert.is(rig.host.nextDeadlineMs(rig.nowMs), 0);
    rig.pass(10_000);
    const announcement = requestHex(OUR_MAC, OURS, OURS);
    assert.equal(
      rig.sent.map((s) => s.hex),
      [announcement, announcement],
    );
    const gap = (rig.sent[1]!.atMs - rig.sent[0]!.atMs) | 0;
    assert.ok(gap >= 2000 && gap <= 2060, `gap ${gap}`);
    assert.is(rig.host.nextDeadlineMs(rig.nowMs), -1);
  }
});

test('another host with our address: counted, named, defended once in ten seconds, never learned', () => {
  const rig = new HostRig(0);
  for (let i = 0; i < 50; i++) {
    assert.is(rig.hear(bytesOf(requestHex(OTHER_MAC, OURS, PEER))), DROP_ARP);
    rig.pass(100);
  }
  assert.equal([rig.host.conflicts, rig.host.conflictHi, rig.host.conflictLo], [50, ...known(OTHER_MAC)]);
  assert.equal(rig.take(), [requestHex(OUR_MAC, OURS, OURS)]);
  rig.pass(5_100);
  rig.hear(bytesOf(replyHex(OTHER_MAC, OURS, OTHER_MAC, OURS)));
  assert.is(rig.take().length, 1);
  assert.is(rig.sees(OURS)[0], NB_EMPTY);
});

test('a probe for our address is answered, so that who asks will not take it; the prober is not learned', () => {
  const rig = new HostRig(0);
  assert.is(rig.hear(bytesOf(requestHex(PEER_MAC, '0.0.0.0', OURS))), DROP_NONE);
  assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, PEER_MAC, '0.0.0.0')]);
  assert.is(rig.sees('0.0.0.0')[0], NB_EMPTY);
});

test('who is not on our subnet is answered but not learned; the gateway may stand outside', () => {
  const rig = new HostRig(0, { gateway: ip('198.51.100.1') });
  rig.hear(bytesOf(requestHex(PEER_MAC, '198.51.100.7', OURS)));
  assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, PEER_MAC, '198.51.100.7')]);
  assert.is(rig.sees('198.51.100.7')[0], NB_EMPTY);
  rig.hear(bytesOf(requestHex(PEER_MAC, '198.51.100.1', OURS)));
  assert.equal(rig.sees('198.51.100.1'), stale);
});

test('nobody is asked for an address that cannot be a neighbour', () => {
  const rig = new HostRig(0);
  for (const a of ['198.51.100.7', '192.0.2.255', '192.0.2.0', '224.0.0.1', '255.255.255.255', '0.0.0.0', '127.0.0.1', OURS])
    rig.host.message(MSG_RESOLVE, ip(a));
  assert.equal(rig.take(), []);
});

test('no frame to send from: nothing is lost, the timer asks again', () => {
  const rig = new HostRig(0);
  rig.starved = true;
  rig.host.message(MSG_RESOLVE, ip(PEER));
  assert.equal(rig.take(), []);
  rig.starved = false;
  rig.pass(1_100);
  assert.equal(rig.take(), [requestHex(OUR_MAC, OURS, PEER)]);
});

test('what happens before the first tick counts from the first tick', () => {
  for (const start of STARTS) {
    const rig = new HostRig(start, {}, false);
    rig.host.start();
    rig.hear(goldenBytes('arpRequest'));
    rig.host.message(MSG_CONFIRM, ip(PEER));
    assert.equal(rig.take(), [replyHex(OUR_MAC, OURS, PEER_MAC, PEER)]);
    assert.is(rig.host.nextDeadlineMs(start), 0);
    rig.host.tick(rig.nowMs);
    assert.equal(rig.take(), [requestHex(OUR_MAC, OURS, OURS)]);
    rig.pass(29_900, 100);
    assert.equal(rig.sees(PEER), reachable);
    rig.pass(200, 100);
    assert.equal(rig.sees(PEER), stale);
  }
});

test('a host that starts again over the same block keeps whom the last one knew, to be checked, and nobody it only asked', () => {
  const first = acquainted(0);
  first.host.message(MSG_RESOLVE, ip('192.0.2.77'));
  assert.is(first.sees('192.0.2.77')[0], NB_INCOMPLETE);
  const second = new HostRig(0, { block: first.block, statics: [[ip('192.0.2.9'), ...known(OTHER_MAC)]], random: () => 77 });
  assert.equal(second.sees(PEER), [NB_STALE, ...known(PEER_MAC)]);
  assert.is(second.sees('192.0.2.77')[0], NB_EMPTY);
  assert.equal(second.sees('192.0.2.9'), [NB_REACHABLE, ...known(OTHER_MAC)]);
});

const on16 = (i: number): string => `10.1.${(i >> 8) & 255}.${i & 255}`;

test('a flood of requests from invented neighbours: the table stays bounded, the newest are there, the known one stays', () => {
  const rig = new HostRig(0, { address: ip('10.1.255.1'), prefix: 16 });
  const us = '10.1.255.1';
  rig.host.message(MSG_RESOLVE, ip('10.1.254.1'));
  rig.hear(bytesOf(replyHex(PEER_MAC, '10.1.254.1', OUR_MAC, us)));
  const bound = (NEIGHBOURS * 3) / 4;
  for (let i = 1; i <= 6000; i++) {
    rig.hear(bytesOf(requestHex(PEER_MAC, on16(i), us)));
    rig.pass(1);
    rig.take();
  }
  let live = 0;
  for (let i = 1; i <= 6000; i++) {
    const there = rig.sees(on16(i))[0] !== NB_EMPTY;
    if (there) live++;
    assert.is(there, i > 6000 - (bound - 1), `${on16(i)}`);
  }
  assert.is(live, bound - 1);
  assert.equal(rig.sees('10.1.254.1'), reachable);
  assert.is(rig.missing, 0);
});

test('a full table of addresses being resolved refuses more, and recovers when they have failed', () => {
  const rig = new HostRig(0, { address: ip('10.1.255.1'), prefix: 16 });
  for (let i = 1; i <= 3500; i++) rig.host.message(MSG_RESOLVE, ip(on16(i)));
  assert.is(rig.take().length, (NEIGHBOURS * 3) / 4);
  assert.is(rig.sees(on16(3500))[0], NB_EMPTY);
  rig.pass(3_200);
  rig.take();
  assert.is(rig.sees(on16(1))[0], NB_FAILED);
  rig.host.message(MSG_RESOLVE, ip(on16(3500)));
  assert.is(rig.sees(on16(3500))[0], NB_INCOMPLETE, 'a failed entry makes room');
  rig.pass(10_000);
  for (let i = 1; i <= 3500; i++) assert.is(rig.sees(on16(i))[0], NB_EMPTY);
});

test('whatever happens: at most one request a second for an address, no frame lost, states that make sense', () => {
  const random = seededRandom('host');
  const pick = (n: number): number => (random() >>> 1) % n;
  const rig = new HostRig(random());
  const peers = Array.from({ length: 6 }, (_, i) => `192.0.2.${10 + i}`);
  const macs = [PEER_MAC, OTHER_MAC, '02:00:00:00:00:aa'];
  const askedAt = new Map<string, number>();
  for (let step = 0; step < 60_000; step++) {
    const peer = peers[pick(peers.length)]!;
    const act = pick(20);
    if (act < 5) rig.host.message(MSG_RESOLVE, ip(peer));
    else if (act < 7) rig.host.message(MSG_CONFIRM, ip(peer));
    else if (act === 7) rig.hear(bytesOf(replyHex(macs[pick(3)]!, peer, OUR_MAC, OURS)));
    else if (act === 8) rig.hear(bytesOf(requestHex(macs[pick(3)]!, peer, OURS)));
    else if (act === 9) rig.hear(bytesOf(replyHex(macs[pick(3)]!, peer, macs[0]!, peer)));
    else if (act === 10 && pick(100) === 0) rig.pass(40_000, 500);
    else rig.pass(pick(400));
    for (const { hex, atMs } of rig.sent.splice(0)) {
      if (hex.slice(40, 44) !== '0001') continue;
      const target = hex.slice(76);
      const before = askedAt.get(target);
      if (before !== undefined) assert.ok(((atMs - before) | 0) >= 1000, `${target} asked after ${(atMs - before) | 0} ms`);
      askedAt.set(target, atMs);
    }
    const [state, hi, lo] = rig.sees(peer);
    if (state === NB_REACHABLE || state === NB_STALE) assert.ok(macs.some((m) => known(m)[0] === hi && known(m)[1] === lo));
    assert.is(rig.missing, 0);
  }
  assert.is(askedAt.size, peers.length);
});

test.run();
