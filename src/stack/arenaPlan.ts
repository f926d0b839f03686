/** How big a worker's arena must be: the sum of what the parts of a stack take from it. */
import { ChunkPool } from './chunkPool.ts';
import type { StackConfig } from './env.ts';
import { DESC_WORDS } from '../rings/layout.ts';
import { flowSlots } from './flowTable.ts';
import { MOVES_WORDS } from './moves.ts';
import { pipeWords } from './pipe.ts';
import { readyWords } from './readyList.ts';
import { socketIds } from './socketIds.ts';
import { PORT_TABLE_WORDS } from './tcp/machine.ts';
import { scoreboardWords } from './tcp/recovery/scoreboard.ts';
import { tcbWords } from './tcp/tcb.ts';
import { USER_COPY_WORDS } from './tcp/userCopy.ts';
import { WHEEL_WORDS } from './tcp/wheel.ts';
import { udpTableWords } from './udp/table.ts';
import { transmitWords } from './transmit.ts';

/** Descriptors pulled a breath stand in the arena, so that the inspect burst finds them. */
export const pullWords = (config: StackConfig): number => config.burst * DESC_WORDS;

/** Blocks a stack takes; each may be rounded up to 128 bytes. */
const BLOCKS = 32;

/** Bytes of arena that `createStack` needs with this configuration, rounding and the arena's own header included. */
export function arenaBytes(config: StackConfig): number {
  const words =
    tcbWords(config.maxConnections) +
    readyWords(socketIds(config).total) +
    udpTableWords(config.maxDatagrams) +
    ChunkPool.words(config.chunks, config.chunkBytes) +
    scoreboardWords(config.chunks) +
    2 * flowSlots(config.maxConnections) +
    WHEEL_WORDS +
    PORT_TABLE_WORDS +
    MOVES_WORDS +
    USER_COPY_WORDS +
    pipeWords(config) +
    pullWords(config) +
    transmitWords(config);
  return (words + (BLOCKS + 1) * 32) * 4;
}
