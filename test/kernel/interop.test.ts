// The Linux kernel's own programs against our server, over a TAP in a namespace; kernel offloads at their defaults.
// test-timeout-seconds: 300
import { interop } from './interop.ts';

interop('tap');
