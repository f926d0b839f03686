/** The eleven states of RFC 9293 section 3.3.2, and the edges between them. `Machine.enter` alone moves along one. */
export const CLOSED = 0;
export const LISTEN = 1;
export const SYN_SENT = 2;
export const SYN_RCVD = 3;
export const ESTABLISHED = 4;
export const FIN_WAIT_1 = 5;
export const FIN_WAIT_2 = 6;
export const CLOSE_WAIT = 7;
export const CLOSING = 8;
export const LAST_ACK = 9;
export const TIME_WAIT = 10;
export const STATES = 11;

export const STATE_NAME: readonly string[] = [
  'CLOSED',
  'LISTEN',
  'SYN_SENT',
  'SYN_RCVD',
  'ESTABLISHED',
  'FIN_WAIT_1',
  'FIN_WAIT_2',
  'CLOSE_WAIT',
  'CLOSING',
  'LAST_ACK',
  'TIME_WAIT',
];

const to = (...states: number[]): number => states.reduce((mask, s) => mask | (1 << s), 0);

/**
 * `EDGES[from] & (1 << to)`: figure 5 of RFC 9293, with CLOSED reachable from everywhere (RST, ABORT, timeouts).
 * A passive connection is made by its listener, so it starts CLOSED → SYN_RCVD; the listener stays in LISTEN.
 */
export const EDGES: readonly number[] = [
  to(LISTEN, SYN_SENT, SYN_RCVD),
  to(CLOSED),
  to(SYN_RCVD, ESTABLISHED, CLOSED),
  to(ESTABLISHED, FIN_WAIT_1, CLOSED),
  to(FIN_WAIT_1, CLOSE_WAIT, CLOSED),
  to(FIN_WAIT_2, CLOSING, TIME_WAIT, CLOSED),
  to(TIME_WAIT, CLOSED),
  to(LAST_ACK, CLOSED),
  to(TIME_WAIT, CLOSED),
  to(CLOSED),
  to(CLOSED),
];

/** States in which the application's data may still be sent. */
export const CAN_SEND = to(ESTABLISHED, CLOSE_WAIT);
/** States in which the peer's data is still taken. */
export const CAN_RECEIVE = to(ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2);
/** States with data or a FIN of ours possibly unacknowledged. */
export const SENDING = to(ESTABLISHED, CLOSE_WAIT, FIN_WAIT_1, CLOSING, LAST_ACK);
/** States in which the peer has the connection too, and something of it is still to come. */
export const CONNECTED = to(ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK);
/** States that do not count as a live connection. */
export const GONE = to(CLOSED, LISTEN, TIME_WAIT);
