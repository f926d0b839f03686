// What every TCP server of the benches begins with: a context, an epoll instance, a listener on the port of the command line.
import * as mtcp from 'flowring/mtcp';

export function listening() {
  const port = Number(process.argv[2]);
  const mctx = mtcp.createContext();
  const ep = mtcp.epollCreate(mctx, 4096);
  const listener = mtcp.socket(mctx, mtcp.AF_INET, mtcp.SOCK_STREAM, 0);
  let result = mtcp.bind(mctx, listener, { port });
  if (result === 0) result = mtcp.listen(mctx, listener, 4096);
  if (result < 0) throw new Error(`port ${port}: ${mtcp.errnoMessage(result)}`);
  mtcp.epollCtl(mctx, ep, mtcp.EPOLL_CTL_ADD, listener, { events: mtcp.EPOLLIN });
  return { mctx, ep, listener };
}
