/**
 * Ends the containers of a gateway that was killed: a container's own processes belong to the engine, not to us, and would go on.
 * One small process for all containers of a gateway; it waits until its standard input ends, which the kernel sees to however we end.
 * What it misses (a machine that stops) is found by its label at the next start.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import { siblingModule } from './artifact.ts';
import { type Engine, environment } from './container-engine.ts';

/** Returns what to call before each start: it sees to it that the guard runs. */
export function containerGuard(...labels: readonly string[]): (engine: Engine) => void {
  let guard: ChildProcess | undefined;
  return (engine) => {
    if (guard !== undefined && guard.exitCode === null && guard.signalCode === null) return;
    guard = spawn(
      process.execPath,
      [
        '--no-warnings',
        '--max-old-space-size=32',
        siblingModule('container-guard'),
        JSON.stringify({ engine, labels }),
      ],
      { stdio: ['pipe', 'ignore', 'ignore'], detached: true, cwd: '/', env: environment(process.env) },
    );
    guard.on('error', () => {});
    // It may outlive us; we need not wait for it.
    guard.unref();
    const input = guard.stdin as Socket;
    input.on('error', () => {});
    input.unref();
  };
}
