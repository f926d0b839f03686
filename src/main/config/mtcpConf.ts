/**
 * mTCP's own configuration files: `key = value`, `#` comments. What has a meaning here is mapped; everything else is
 * reported with the reason, not refused, so that an existing file starts.
 */
import { ConfigError } from './configError.ts';
import { specOf } from './schema.ts';
import { nearestKey, type RawValue } from './source.ts';

export interface ConfRead {
  values: RawValue[];
  /** One line per key that has no effect. */
  notes: string[];
}

const IGNORED: Readonly<Record<string, string>> = {
  io: 'the port is chosen by nic',
  num_mem_ch: 'memory channels belong to DPDK',
  multiprocess: 'one process runs every thread',
  max_num_buffers: 'buffers are chunk chains, see chunks',
  udp_list_entries: 'datagrams to be sent wait in the ring, see rings.tx',
  stat_print: 'see flowring top',
};

/** Keys that mean the same under another name; the second entry scales the value. */
const RENAMED: Readonly<Record<string, readonly [string, number]>> = {
  num_cores: ['workers', 1],
  max_concurrency: ['tcp.max-connections', 1],
  rcvbuf: ['tcp.rcvbuf', 1],
  sndbuf: ['tcp.sndbuf', 1],
  tcp_timewait: ['tcp.time-wait-ms', 1000],
  udp_send_buffer: ['udp.sndbuf', 1],
  udp_receive_buffer: ['udp.rcvbuf', 1],
  udp_recv_buffer: ['udp.rcvbuf', 1],
  tcp_timeout: ['tcp.idle-timeout-ms', 1000],
};

/** Reads a `.conf`. Own keys of this program (`tcp.nagle = false`) may stand in it too. */
export function readMtcpConf(text: string, file: string): ConfRead {
  const values: RawValue[] = [];
  const notes: string[] = [];
  text.split('\n').forEach((full, i) => {
    const line = full.replace(/#.*/, '').trim();
    if (line === '') return;
    const place = `${file}:${i + 1}`;
    const m = /^([^\s=]+)\s*[=\s]\s*(.*)$/.exec(line);
    if (m === null || m[2] === '') throw new ConfigError(`"${line}" is not key = value`, place);
    const [key, raw] = [m[1]!, m[2]!];
    const renamed = RENAMED[key];
    const own = specOf(key);
    if (renamed !== undefined) {
      const n = Number(raw);
      const off = key === 'tcp_timeout' && n === -1;
      const scaled = off ? 0 : renamed[1] === 1 || Number.isNaN(n) ? raw : n * renamed[1];
      values.push({ spec: specOf(renamed[0])!, raw: scaled, place: `${place} (${key})` });
    } else if (key === 'port') {
      if (/^tap\w*$/.test(raw)) values.push({ spec: specOf('nic')!, raw: `tap:${raw}`, place: `${place} (port)` });
      else if (/^((?:tap|packet):\S+|tap|switch)$/.test(raw)) values.push({ spec: specOf('nic')!, raw, place: `${place} (port)` });
      else if (/\s/.test(raw)) notes.push(`${place}: port = ${raw} ignored: this version has one port a process; name one`);
      else notes.push(`${place}: port = ${raw} ignored: the kernel's interfaces are not taken over; to share one say --nic packet:${raw}`);
    } else if (own !== undefined) values.push({ spec: own, raw, place });
    else if (Object.hasOwn(IGNORED, key)) notes.push(`${place}: ${key} ignored: ${IGNORED[key]}`);
    else {
      const near = nearestKey(key, Object.keys(RENAMED));
      notes.push(`${place}: ${key} ignored: not a key of mTCP or flowring${near === undefined ? '' : `, did you mean "${near}"?`}`);
    }
  });
  return { values, notes };
}
