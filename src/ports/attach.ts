/** Attaches a port on the thread that runs its broker, by the kind main opened. */
import { attachDevice } from './device.ts';
import type { Native } from './native.ts';
import type { Port, PortAttachment } from './port.ts';
import { attachSwitchPort } from './switchPort.ts';

/** Throws Error (code FLOWRING_PORT) for a kind this build does not know. */
export function attachPort(attachment: PortAttachment, native: Native | null): Port {
  if (attachment.kind === 'switch') {
    return attachSwitchPort(attachment, native === null ? {} : { ringEventfd: (fd) => native.eventfdWrite(fd) });
  }
  if ((attachment.kind === 'tap' || attachment.kind === 'packet') && native !== null) return attachDevice(attachment, native);
  throw Object.assign(new Error(`port kind "${attachment.kind}" cannot be attached${native === null ? ' without the native addon' : ''}`), {
    code: 'FLOWRING_PORT',
  });
}
