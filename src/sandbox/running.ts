/**
 * Which processes of which server run, and what is really in force for each: kept from the moment one is started to the moment nothing of
 * it is left. Says so when one was ended for what it did.
 * Not done here: starting and ending them.
 */
import type { Posture, SandboxExit, SandboxedProcess } from './backend.ts';

export interface RunningProcess {
  /** ms since the epoch. */
  readonly since: number;
  readonly posture: Posture;
}

export interface RunningBook {
  /** The same, with what it starts written down. */
  watched<Request extends { readonly serverId: string }>(
    start: (request: Request) => Promise<SandboxedProcess>,
  ): (request: Request) => Promise<SandboxedProcess>;
  of(serverId: string): readonly RunningProcess[];
}

/** What a server itself brought about; other reasons (idle, changed, stopped) are ours. */
const FOR_WHAT_IT_DID: ReadonlySet<string> = new Set(['memory', 'processes', 'cpu', 'output', 'protocol']);

/** @param contained called once for each process that was ended for what it did, with the reason. */
export function runningBook(
  now: () => number,
  contained: (serverId: string, reason: string, posture: Posture) => void,
): RunningBook {
  const book = new Map<string, Set<RunningProcess>>();

  function leave(serverId: string, process: RunningProcess, { reason }: SandboxExit): void {
    const processes = book.get(serverId);
    processes?.delete(process);
    if (processes?.size === 0) book.delete(serverId);
    if (reason !== undefined && FOR_WHAT_IT_DID.has(reason)) contained(serverId, reason, process.posture);
  }

  return {
    watched: (start) => async (request) => {
      const started = await start(request);
      const { serverId } = request;
      const process = { since: now(), posture: started.posture };
      const known = book.get(serverId);
      if (known === undefined) book.set(serverId, new Set([process]));
      else known.add(process);
      void started.exited.then((exit) => leave(serverId, process, exit));
      return started;
    },
    of: (serverId) => [...(book.get(serverId) ?? [])],
  };
}
