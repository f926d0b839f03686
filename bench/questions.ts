/** The questions there are, in the order they are asked when all are. A new one is a file of its own and a line here. */
import { bulk } from './bulk.ts';
import { bursts } from './bursts.ts';
import { connections } from './connections.ts';
import { counts } from './counts.ts';
import { dispatch } from './dispatch.ts';
import { echo } from './echo.ts';
import { http } from './http.ts';
import { idle } from './idle.ts';
import { latency } from './latency.ts';
import type { Question } from './question.ts';
import { rings } from './rings.ts';
import { scaling } from './scaling.ts';
import { short } from './short.ts';
import { udp } from './udp.ts';
import { wire } from './wire.ts';

export const QUESTIONS: readonly Question[] = [
  rings,
  wire,
  bursts,
  counts,
  dispatch,
  echo,
  latency,
  short,
  bulk,
  http,
  udp,
  connections,
  idle,
  scaling,
];
