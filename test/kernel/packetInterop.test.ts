// The same programs over a veth, with our server's packet socket at its far end.
// test-timeout-seconds: 300
import { interop } from './interop.ts';

interop('packet');
