/** Attaches a port, or the sending half of one, on the thread that runs it, by the kind main opened. */
import { attachDevice, attachDeviceTx } from './device.ts';
import type { Native } from './native.ts';
import type { Port, PortAttachment, TxPort } from './port.ts';
import { attachSwitchPort } from './switchPort.ts';
import { SwitchTxPort } from './switchSender.ts';

const DEVICES = ['tap', 'packet'];

/**
 * The broker's side. `sends`: false where a transmitter attaches the sending half; txBurst is nobody's to call then.
 * Throws Error (code FLOWRING_PORT) for a kind this build does not know.
 */
export function attachPort(attachment: PortAttachment, native: Native | null, sends = true): Port {
  if (attachment.kind === 'switch') {
    return attachSwitchPort(attachment, native === null ? {} : { ringEventfd: (fd) => native.eventfdWrite(fd) }, sends);
  }
  if (DEVICES.includes(attachment.kind) && native !== null) return attachDevice(attachment, native, sends);
  throw unknownKind(attachment, native);
}

/** The sending half alone, on the transmitter's thread. Throws as attachPort does. */
export function attachTxPort(attachment: PortAttachment, native: Native | null): TxPort {
  if (attachment.kind === 'switch') return new SwitchTxPort(attachment, native === null ? undefined : (fd) => native.eventfdWrite(fd));
  if (DEVICES.includes(attachment.kind) && native !== null) return attachDeviceTx(attachment, native);
  throw unknownKind(attachment, native);
}

function unknownKind(attachment: PortAttachment, native: Native | null): Error {
  const why = native === null ? ' without the native addon' : '';
  return Object.assign(new Error(`port kind "${attachment.kind}" cannot be attached${why}`), { code: 'FLOWRING_PORT' });
}
