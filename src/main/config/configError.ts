/**
 * A wrong configuration, usage or privilege: one line that names the place, the value, what is allowed and the fix.
 * The CLI prints it to stderr without a stack and exits with 2.
 */
export class ConfigError extends Error {
  readonly code: string = 'FLOWRING_CONFIG';
  readonly exitCode = 2;
  /** `flowring.json:7`, `--workers`, `--set`, `code`; empty when the error is about several values. */
  readonly place: string;

  constructor(message: string, place = '') {
    // "--cpus: cpus: …" would say the key twice
    const rest = place.startsWith('--') && message.startsWith(`${place.slice(2)}: `) ? message.slice(place.length) : message;
    super((place === '' ? rest : `${place}: ${rest}`).replace(/\s*\n\s*/g, ' '));
    this.name = 'ConfigError';
    this.place = place;
  }
}

/** The configuration is fine but this user, kernel or machine may not run it. */
export class PrivilegeError extends ConfigError {
  override readonly code = 'FLOWRING_PRIVILEGE';
}
