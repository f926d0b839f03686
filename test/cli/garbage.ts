/** A program that makes garbage, slowly enough for its worker to live: about 30 MB a second. */
import { createContext } from '../../src/api/mtcp.ts';

const kept: Uint32Array[] = [];

createContext();
setInterval(() => {
  for (let i = 0; i < 300; i++) {
    const junk = Array.from({ length: 1000 }, (_, k) => k + 0.5);
    if (i === 0) kept.push(Uint32Array.from(junk));
  }
  if (kept.length > 100) kept.length = 0;
}, 50);
