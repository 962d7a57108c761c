/**
 * Runs an installed npm package that serves MCP over HTTP, isolated like a stdio server but with the host's network,
 * and bound to loopback. For sample servers on one machine; servers of others are reached where they run.
 */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NODE_INSIDE } from './arguments.ts';
import { resolveCommand, siblingModule } from './artifact.ts';
import { type IsolationBackend, SandboxFault, type SandboxedProcess } from './backend.ts';

const PRELOAD = 'loopback-only';

export interface LocalHttpServer {
  readonly name: string;
  /** npm package, as in a stdio command, and the arguments of its program. */
  readonly command: readonly [program: string, ...args: string[]];
  /** Handed to it as PORT. */
  readonly port: number;
  readonly readyTimeoutMs?: number;
}

/** Resolves when it accepts connections on 127.0.0.1. @throws SandboxFault; nothing is left running then. */
export async function startLocalHttp(backend: IsolationBackend, server: LocalHttpServer): Promise<SandboxedProcess> {
  const limits = { memoryMb: 512, processes: 64, cpuSeconds: 86_400, openFiles: 1_024, cpuPercent: 100 };
  const artifact = resolveCommand(['node', ...server.command], limits.memoryMb * 0.75);
  const preload = siblingModule(PRELOAD);
  const inside = `/remit/${preload.slice(preload.lastIndexOf('/') + 1)}`;
  const process = await backend.start({
    name: server.name,
    argv: [NODE_INSIDE, '--no-warnings', '--import', inside, ...artifact.argv.slice(1)],
    env: { PORT: String(server.port) },
    mounts: [...artifact.mounts, { from: preload, to: inside, mode: 'read' }],
    network: 'host',
    limits,
  });
  let gone = false;
  void process.exited.then(() => (gone = true));
  let said = '';
  process.stdout.resume();
  process.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-500)));

  const deadline = Date.now() + (server.readyTimeoutMs ?? 20_000);
  while (!(await accepts(server.port))) {
    if (gone || Date.now() > deadline) {
      await process.stop('not ready');
      throw new SandboxFault(
        'sandbox_start',
        `${server.name} does not listen on 127.0.0.1:${server.port}: ${said.trim() || 'it said nothing'}`,
      );
    }
    await sleep(50);
  }
  return process;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', timeout: 1_000 });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false));
  });
}
