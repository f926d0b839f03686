// Many connections of one program to one server: what its client examples share. They are columns, by number k, which is also
// what their events carry: no objects, so nothing is allocated while they run.
import * as mtcp from 'flowring/mtcp';

/**
 * `send(k)` is called for what may be written, `receive(k)` for what may be read; `first` is what a connection waits for from the
 * start, EPOLLIN or EPOLLOUT or both. `name` stands in front of what is said of the first three failures.
 */
export function makeConnections(mctx, { name, server, count, maxEvents, first, send, receive }) {
  const counters = mctx.counters.v;
  const ep = mtcp.epollCreate(mctx, 4096);
  const events = new mtcp.EpollEvents(maxEvents);
  const interest = { events: 0, data: 0 };
  const socketOf = new Int32Array(count).fill(-1);
  const watched = new Int32Array(count);
  let open = 0;

  function watch(k, wanted, operation = mtcp.EPOLL_CTL_MOD) {
    if (watched[k] === wanted) return;
    watched[k] = interest.events = wanted;
    interest.data = k;
    mtcp.epollCtl(mctx, ep, operation, socketOf[k], interest);
  }

  function start(k) {
    const s = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
    counters[mtcp.C_APP_CONNECTIONS]++;
    open++;
    socketOf[k] = s;
    const result = s < 0 ? s : mtcp.connect(mctx, s, server);
    if (result < 0 && result !== -mtcp.EINPROGRESS) return fail(k, mtcp.errnoMessage(result));
    watch(k, first, mtcp.EPOLL_CTL_ADD);
  }

  function finish(k) {
    if (socketOf[k] >= 0) mtcp.close(mctx, socketOf[k]);
    socketOf[k] = -1;
    open--;
  }

  function fail(k, why) {
    if (counters[mtcp.C_APP_FAILED]++ < 3) console.error(`${name}: worker ${mctx.worker}, connection ${k}: ${why}`);
    finish(k);
  }

  function serve(n) {
    for (let i = 0; i < n; i++) {
      const k = events.data[i];
      if ((events.events[i] & mtcp.EPOLLERR) !== 0) {
        fail(k, mtcp.errnoMessage(mtcp.getsockopt(mctx, socketOf[k], mtcp.SOL_SOCKET, mtcp.SO_ERROR)));
      } else if ((events.events[i] & mtcp.EPOLLIN) !== 0) receive(k);
      else send(k);
    }
  }

  /**
   * Connects all, then runs the stack until none is open or the program is asked to stop: `turn(ms)` hears after every wait how long
   * it has been, and ends it by true. Returns how many milliseconds that took.
   */
  function run(turn) {
    for (let k = 0; k < count; k++) start(k);
    const began = mtcp.nowMs(mctx);
    const elapsedMs = () => (mtcp.nowMs(mctx) - began) | 0;
    while (open > 0) {
      const n = mtcp.epollWait(mctx, ep, events, events.max, 100);
      if (n < 0) break;
      serve(n);
      if (turn(elapsedMs())) break;
    }
    return elapsedMs();
  }

  /** Every connection that is still open. */
  function eachOpen(call) {
    for (let k = 0; k < count; k++) if (socketOf[k] >= 0) call(k);
  }

  return { socketOf, watch, finish, fail, run, eachOpen };
}
