/**
 * A database in a worker thread: named methods called by message, so that no statement and no fsync ever runs on the main thread.
 * Both ends live here, because they are two halves of one protocol. Messages carry plain data; a fault crosses as code and text.
 */
import type { MessagePort } from 'node:worker_threads';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import type { Fault } from '../../lib/fault.ts';

/** What a worker can do. `never` parameters accept any method; each call is typed by `Remote`. */
export type Methods = Record<string, (...args: never[]) => Promise<unknown>> & { close(): Promise<void> };

interface Request {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}
type Reply = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly fault: SentFault };
interface SentFault {
  readonly code: string;
  readonly message: string;
}

/** The reply with this id says that the database is open, or why not. */
const OPENED = 0;

/** Runs in the worker: opens, announces, then answers until the thread ends. */
export async function serveDatabase(
  open: (path: string) => Promise<Methods>,
  toFault: (error: unknown) => Fault,
): Promise<void> {
  const port = parentPort as MessagePort;
  const reply = (message: Reply): void => port.postMessage(message);
  const refuse = (id: number, error: unknown): void => {
    const { code, message } = toFault(error);
    reply({ id, fault: { code, message } });
  };
  let methods: Methods;
  try {
    methods = await open(workerData as string);
  } catch (error) {
    refuse(OPENED, error);
    return;
  }
  port.on('message', ({ id, method, args }: Request) => {
    const run = methods[method] as (...args: readonly unknown[]) => Promise<unknown>;
    run(...args).then(
      (value) => reply({ id, value }),
      (error: unknown) => refuse(id, error),
    );
  });
  reply({ id: OPENED, value: null });
}

export interface Remote<M extends Methods> {
  method<Name extends keyof M & string>(name: Name): M[Name];
  /** Called once if the thread ends without `end()`; at once if it already has. */
  onDeath(listener: (fault: Fault) => void): void;
  /** Closes the database and ends the thread. Calls that were not answered are refused with `closed`. */
  end(closed: Fault): Promise<void>;
}

/**
 * Starts a worker and waits until its database is open.
 * @param fault Builds the port's fault from what the worker sent.
 * @throws what `fault` builds.
 */
export async function startDatabase<M extends Methods>(
  module: URL,
  path: string,
  fault: (code: string | null, message: string) => Fault,
): Promise<Remote<M>> {
  const waiting = new Map<number, { resolve: (value: unknown) => void; reject: (fault: Fault) => void }>();
  const worker = new Worker(module, { workerData: path });
  let next = OPENED;
  let over: Fault | null = null;
  let death: Fault | null = null;
  let mourner: ((fault: Fault) => void) | undefined;

  const stop = (reason: Fault): void => {
    over ??= reason;
    for (const { reject } of waiting.values()) reject(over);
    waiting.clear();
  };
  const die = (message: string): void => {
    if (over !== null) return;
    death = fault(null, message);
    stop(death);
    mourner?.(death);
  };
  const expectReply = (): Promise<unknown> =>
    new Promise((resolve, reject) => waiting.set(next++, { resolve, reject }));

  worker.on('message', (reply: Reply) => {
    const waiter = waiting.get(reply.id);
    waiting.delete(reply.id);
    if ('fault' in reply) waiter?.reject(fault(reply.fault.code, reply.fault.message));
    else waiter?.resolve(reply.value);
  });
  worker.on('error', (error) =>
    die(`the database thread failed: ${error instanceof Error ? error.message : String(error)}`),
  );
  worker.on('exit', (code) => die(`the database thread ended with code ${code}`));

  try {
    await expectReply();
  } catch (error) {
    over ??= error as Fault;
    await worker.terminate();
    throw error;
  }
  function call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (over !== null) return Promise.reject(over);
    const request: Request = { id: next, method, args };
    const reply = expectReply();
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
    worker.postMessage(request);
    return reply;
  }
  return {
    method: (name) => ((...args: readonly unknown[]) => call(name, args)) as unknown as M[typeof name],
    onDeath(listener) {
      mourner = listener;
      if (death !== null) listener(death);
    },
    async end(closed) {
      await call('close', []).catch(() => undefined); // a thread that cannot close is ended all the same
      stop(closed);
      await worker.terminate();
    },
  };
}
