/**
 * A module for `flowring run`: `-- ADDRESS PORT COUNT CONCURRENCY`. Connects, sends four bytes, waits for their echo and
 * closes first, COUNT times, so that every connection ends in a TIME_WAIT of ours. Prints what failed; exit code 1 when any did.
 */
import * as mtcp from '../../src/api/mtcp.ts';

const [address, port, count, concurrency] = process.argv.slice(2).map((x, i) => (i === 0 ? x : Number(x))) as [
  string,
  number,
  number,
  number,
];
const mctx = mtcp.createContext();
const ep = mtcp.epollCreate(mctx, 1024);
const events = new mtcp.EpollEvents(256);
const word = new Uint8Array([1, 2, 3, 4]);
const buffer = new Uint8Array(64);
const asked = new Set<number>();
const failed = new Map<string, number>();
let begun = 0;
let done = 0;

function begin(): void {
  begun++;
  const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
  const made = s < 0 ? s : mtcp.connect(mctx, s, { address, port });
  if (made < 0 && made !== -mtcp.EINPROGRESS) return end(s, mtcp.errnoMessage(made));
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, s, { events: mtcp.EPOLLIN | mtcp.EPOLLOUT });
}

function end(s: number, why: string): void {
  done++;
  asked.delete(s);
  if (why !== '') failed.set(why, (failed.get(why) ?? 0) + 1);
  if (s >= 0) mtcp.close(mctx, s);
}

function step(s: number, bits: number): void {
  if ((bits & mtcp.EPOLLERR) !== 0) return end(s, mtcp.errnoMessage(mtcp.getsockopt(mctx, s, mtcp.SOL_SOCKET, mtcp.SO_ERROR)));
  if (!asked.has(s)) {
    mtcp.write(mctx, s, word);
    asked.add(s);
    mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_MOD, s, { events: mtcp.EPOLLIN });
    return;
  }
  const n = mtcp.read(mctx, s, buffer);
  if (n !== -mtcp.EAGAIN) end(s, n === 4 ? '' : `read ${n}`);
}

while (done < count) {
  while (begun < count && begun - done < concurrency) begin();
  const n = mtcp.epollWait(mctx, ep, events, events.max, 100);
  if (n < 0) break;
  for (let i = 0; i < n; i++) step(events.socket[i]!, events.events[i]!);
}
console.log(JSON.stringify({ done, failed: [...failed] }));
if (failed.size > 0 || done < count) process.exitCode = 1;
mtcp.destroyContext(mctx);
