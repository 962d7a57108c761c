/**
 * The authorization server of `remit up`, as a process of its own: started by up.ts with an IPC channel, ends when the channel does.
 * Passwords of evaluation users made by this start go through that channel once, to be shown once; the database holds only their hashes.
 */
import { pino } from 'pino';
import type { CreatedEvaluationUser, NewEvaluationUser } from '../authserver/users.ts';
import { isFault } from '../lib/fault.ts';
import { loadConfig } from './config.ts';
import { runAuthServer } from './serve.ts';

export interface AuthServerReady {
  readonly issuer: string;
  /** username -> `sub`. */
  readonly subjects: Readonly<Record<string, string>>;
  readonly created: ReadonlyArray<Pick<CreatedEvaluationUser, 'username' | 'password'>>;
}

/** What comes instead when it cannot start. */
export interface AuthServerFailed {
  readonly fault: string;
  readonly code: string;
}

const [configFile = '', logFile = '', people = '[]'] = process.argv.slice(2);
let end: () => void = () => process.exit(1);
// Ctrl-C reaches the whole process group; the parent decides the order and closes the channel when it is our turn.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => end());
process.on('disconnect', () => end());

try {
  const config = loadConfig(configFile, process.env);
  if (!config.ok) throw new Error(config.error.map(({ key, reason }) => `${key}: ${reason}`).join('\n'));
  const log = pino(
    { name: 'remit-authserver', level: config.value.log.level },
    pino.destination({ dest: logFile, sync: true, mode: 0o600 }),
  );
  const server = await runAuthServer(config.value, log);
  end = () => void server.close().then(() => process.exit(0));

  const wanted = JSON.parse(people) as NewEvaluationUser[];
  const known = new Set(server.listEvaluationUsers().map(({ username }) => username));
  const missing = wanted.filter(({ username }) => !known.has(username));
  const created = missing.length === 0 ? [] : await server.createEvaluationUsers(missing);
  const ready: AuthServerReady = {
    issuer: server.issuer,
    subjects: Object.fromEntries(server.listEvaluationUsers().map(({ username, sub }) => [username, sub])),
    created: created.map(({ username, password }) => ({ username, password })),
  };
  process.send?.(ready);
} catch (error) {
  const fault: AuthServerFailed = {
    fault: error instanceof Error ? error.message : String(error),
    code: isFault(error) ? error.code : 'unexpected',
  };
  process.send?.(fault);
  process.exitCode = 1;
  process.disconnect?.();
}
