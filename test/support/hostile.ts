/**
 * A node with hostile servers (`upstreams/hostile.ts`) that run as the gateway runs them: sandboxed, written down, their ends reported.
 * Servers whose id begins with `bare` are the vulnerable twins: the same program, started without any isolation.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { incidentLog } from '../../src/gateway/incidents.ts';
import { Server } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { serverLauncher } from '../../src/sandbox/launch.ts';
import { runningBook } from '../../src/sandbox/running.ts';
import type { ProcessExit, ServerProcess, StartProcess } from '../../src/upstream/target.ts';
import { type Answer, ORG, type Rig, startRig } from './rig.ts';
import { REPOSITORY, testPool } from './upstreams/open.ts';

const PROGRAM = 'test/support/upstreams/hostile.ts';
const MINUTES_MS = 600_000;

export const SMALL = {
  memoryMb: 128,
  processes: 30,
  cpuSeconds: 20,
  openFiles: 64,
  cpuPercent: 50,
  outputBytes: 100_000,
};

export interface HostileRig {
  readonly rig: Rig;
  readonly book: ReturnType<typeof runningBook>;
  add(id: string, more?: { readonly limits?: Partial<typeof SMALL>; readonly record?: JsonObject }): Promise<void>;
  /** What the server says of what it did, or the whole answer where it says nothing. */
  act(id: string, args: JsonObject, as?: string): Promise<unknown>;
  call(id: string, args: JsonObject, as?: string): Promise<Answer>;
  /** Ends its processes, as when it is changed or suspended; resolves when nothing of them is left. */
  closed(id: string): Promise<void>;
  /** Reasons of `process_ended` in the log, oldest first. */
  ended(id: string): Promise<readonly unknown[]>;
}

export async function startHostileRig(): Promise<HostileRig> {
  let book: HostileRig['book'] | null = null;
  let close: HostileRig['closed'] | null = null;
  const rig = await startRig({
    servers: {},
    wrap: (deps) => {
      const incidents = incidentLog({
        ...deps,
        record: (id) => deps.view.get('incident', ORG, id),
        log: () => undefined,
      });
      const running = runningBook(
        () => deps.clock.now(),
        (server, reason, { backend }) =>
          void incidents.report({ what: 'process_ended', subject: `server/${server}`, facts: { reason, backend } }),
      );
      book = running;
      const boxed = running.watched(serverLauncher(bubblewrapBackend({ graceMs: 500, watchMs: 250 })));
      const startProcess: StartProcess = (request) =>
        request.serverId.startsWith('bare') ? Promise.resolve(bare()) : boxed(request);
      const pool = testPool({ clock: deps.clock, startProcess });
      close = (id) => pool.close(id, 'ended by the test');
      return { ...deps, incidents, pool };
    },
  });

  const call: HostileRig['call'] = (id, args, as = 'dana') => rig.call(id, 'do', args, { as });
  return {
    rig,
    book: book!,
    call,
    closed: close!,
    async add(id, { limits = {}, record = {} } = {}) {
      const body = Server.parse({
        title: id,
        owner: 'omar',
        purpose: 'attacks',
        environment: 'evaluation',
        dataClasses: ['public'],
        state: 'enabled',
        timeoutMs: MINUTES_MS,
        ...record,
        upstream: {
          transport: 'stdio',
          command: ['node', `/repo/${PROGRAM}`],
          era: 'modern',
          mounts: [{ from: REPOSITORY, to: '/repo', mode: 'read' }],
          limits: { ...SMALL, ...limits },
        },
      });
      await rig.commit([{ kind: 'server', org: ORG, id, body }]);
      await rig.look(id);
      await rig.approveTool(id, 'do', 'write', 'notes:write');
    },
    async act(id, args, as) {
      const answer = await call(id, args, as);
      const [block] = (answer.result?.['content'] ?? []) as JsonObject[];
      const said = block?.['text'];
      try {
        return JSON.parse(said as string);
      } catch {
        return answer.text;
      }
    },
    ended: async (id) =>
      (await rig.entries('incident'))
        .map(({ event }) => event)
        .filter((event) => event?.['subject'] === `server/${id}`)
        .map((event) => event?.['reason']),
  };
}

/** What starting it without a sandbox would be. Ends with this test at the latest. */
export function bare(): ServerProcess {
  const child = spawn(process.execPath, [join(REPOSITORY, PROGRAM)], { env: { SECRET: 'of the twin' }, stdio: 'pipe' });
  const exited = new Promise<ProcessExit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
  const { stdin, stdout, stderr } = child;
  stdin.on('error', () => undefined);
  return {
    pid: child.pid ?? 0,
    stdin,
    stdout,
    stderr,
    exited,
    stop: () => {
      child.kill('SIGTERM');
      return Promise.race([
        exited,
        new Promise<ProcessExit>((r) => setTimeout(r, 2_000, { code: null, signal: null })),
      ]);
    },
  };
}
