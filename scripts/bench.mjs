// Asks the benches' questions (bench/main.ts says how): without a name it lists them.
//
//   npm run bench
//   npm run bench -- echo --port switch --json
//   npm run bench -- all --json --out bench/results
import '../dist/bench/main.js';
