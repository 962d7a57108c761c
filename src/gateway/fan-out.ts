/**
 * Who hears of what changed: lists and watched resources, for the streams of this node. A change of a server or of our own rules is told
 * to a listener only if what that very caller may see is not what it was, and a resource only while they may read it; both are decided by
 * the guards and the list that decide requests, anew for every event (AZ-09: nobody learns of what is not theirs, not even that it changed).
 * Events are put together: at most one per list, resource and second for a listener. Not done here: how a message reaches its client.
 */
import { LRUCache } from 'lru-cache';
import { sha256Hex } from '../lib/bytes.ts';
import { isFault } from '../lib/fault.ts';
import type { JsonObject } from '../lib/json.ts';
import { listChanged, resourceUpdated } from '../protocol/notifications.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { PASSING, reasonCode } from './denial.ts';
import { facingOf } from './facing.ts';
import { visibleItems } from './greeting.ts';
import type { GuardPorts } from './guard.ts';
import { mayRead } from './may-read.ts';
import type { Located } from './may-read.ts';
import type { Pipeline } from './pipeline.ts';
import type { ServerEntry, Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

const LISTS = { tools: ['tool'], prompts: ['prompt'], resources: ['resource', 'template'] } as const;
export type ListName = keyof typeof LISTS;
export const LIST_NAMES = Object.keys(LISTS) as readonly ListName[];

/** Digests of the lists as the listener last knew them; what is missing is not known. */
export type Heard = Readonly<Partial<Record<ListName, string>>>;

export interface Listening {
  /** Admitted in column `hear`. */
  readonly call: Call;
  readonly lists: ReadonlySet<ListName>;
  /** What a stream that goes on here knew already. */
  readonly heard: Heard | null;
  tell(message: JsonObject, heard: Heard): void;
  /** The caller lost their standing. */
  end(why: string): void;
}

export interface Subscription {
  /** Replaces the resources that are heard of. Answers with those that are: a server has room for so many. */
  watch(resources: readonly Located[]): readonly Located[];
  /** Something may have happened while nobody listened: lists are compared, and every watched resource is told of once. */
  doubt(): void;
  heard(): Heard;
  close(): void;
}

export interface FanOut {
  open(listening: Listening): Promise<Subscription>;
  /** Another snapshot is in force. */
  /** `people`: only of these anything changed; null: anything may have. */
  stateChanged(people: ReadonlySet<string> | null): void;
  readonly size: number;
  close(): void;
}

export interface FanOutDeps {
  readonly ports: GuardPorts;
  readonly pipeline: Pipeline;
  readonly snapshot: () => Snapshot;
  readonly version: string;
  readonly onFault: (error: unknown) => void;
}

/** Changes within this time are one. */
const TOGETHER_MS = 25;
const APART_MS = 1_000;
/** Locks and policies end with time, without a change of state. */
const RECHECK_MS = 60_000;
/** How long a listener waits to know what it knows; a server that is slower than this is told as changed once it answers. */
const BASELINE_WITHIN_MS = 2_000;
const MAX_WATCHED_PER_SERVER = 10_000;
/** Of one person on this node, on all their streams together: nobody takes the room of the others. */
const MAX_WATCHED_PER_PERSON = 1_000;
/** Listeners looked at before others have their turn. */
const AT_ONCE = 50;

interface Ear {
  readonly listening: Listening;
  readonly heard: Partial<Record<ListName, string>>;
  readonly lists: Set<ListName>;
  readonly changed: Map<string, Located>;
  watched: ReadonlyMap<string, Located>;
  busy: boolean;
  open: boolean;
}

const keyOf = ({ server, uri }: { readonly server: string; readonly uri: string }): string => `${server} ${uri}`;

export function fanOut(deps: FanOutDeps): FanOut {
  const { catalogue } = deps.ports;
  const ears = new Set<Ear>();
  const byResource = new Map<string, Set<Ear>>();
  const byServer = new Map<string, Map<string, number>>();
  const byPerson = new Map<string, number>();
  const digests = new LRUCache<string, Promise<string | null>>({ max: 2_000, ttl: 5_000 });
  let timer: NodeJS.Timeout | null = null;
  let lastRun = Number.NEGATIVE_INFINITY;

  function schedule(): void {
    if (timer !== null) return;
    const waitMs = Math.max(TOGETHER_MS, lastRun + APART_MS - performance.now());
    timer = setTimeout(() => {
      timer = null;
      lastRun = performance.now();
      void run();
    }, waitMs).unref();
  }

  async function run(): Promise<void> {
    let looked = 0;
    for (const ear of ears) {
      if (ear.busy || (ear.lists.size === 0 && ear.changed.size === 0)) continue;
      void settle(ear);
      if (++looked % AT_ONCE === 0) await new Promise((resolve) => void setImmediate(resolve));
    }
  }

  async function settle(ear: Ear): Promise<void> {
    ear.busy = true;
    const lists = [...ear.lists];
    const changed = [...ear.changed.values()];
    ear.lists.clear();
    ear.changed.clear();
    try {
      await tell(ear, lists, changed);
    } catch (error) {
      // A mistake of ours must not end the node; what was to be told is told with the next change.
      deps.onFault(error);
    } finally {
      ear.busy = false;
      if (ear.open && (ear.lists.size > 0 || ear.changed.size > 0)) schedule();
    }
  }

  async function tell(ear: Ear, lists: readonly ListName[], changed: readonly Located[]): Promise<void> {
    const { call } = ear.listening;
    call.snapshot = deps.snapshot();
    const denial = await deps.pipeline.readmit(call, 'hear', deps.ports);
    if (!ear.open) return;
    if (denial) {
      if (!PASSING.has(denial.reason)) return ear.listening.end(reasonCode(denial));
      for (const list of lists) ear.lists.add(list);
      for (const one of changed) ear.changed.set(one.shown, one);
      return;
    }
    for (const list of lists) {
      const digest = await digestOf(call, list);
      // A server that cannot be asked has not changed.
      if (!ear.open || digest === null || digest === ear.heard[list]) continue;
      ear.heard[list] = digest;
      ear.listening.tell(listChanged(list), { ...ear.heard });
    }
    for (const one of changed) {
      const theirs = (await mayRead(call, one.shown, deps)) !== null;
      if (ear.open && theirs && ear.watched.has(one.shown))
        ear.listening.tell(resourceUpdated(one.shown), { ...ear.heard });
    }
  }

  /** What this caller is shown under a list; null: not known now. */
  function digestOf(call: Call, list: ListName): Promise<string | null> {
    const { caller, person } = call.facts;
    const key = JSON.stringify([
      call.endpoint.server,
      list,
      person?.id,
      person?.roles,
      person?.groups,
      caller?.issuer,
      caller?.clientId,
      caller?.actChain,
      (caller?.keyThumbprint ?? null) !== null,
      facingOf(call, deps).version,
      call.snapshot.revision,
      catalogue.version,
    ]);
    let digest = digests.get(key);
    if (digest === undefined) {
      digest = look(call, list).catch((fault: unknown) => {
        digests.delete(key);
        if (!isFault(fault)) deps.onFault(fault);
        return null;
      });
      digests.set(key, digest);
    }
    return digest;
  }

  async function look(call: Call, list: ListName): Promise<string> {
    const sighted = await sightings(call);
    const facing = facingOf(call, deps);
    return sha256Hex(JSON.stringify(LISTS[list].map((kind) => visibleItems(call, deps, kind, sighted, facing))));
  }

  async function sightings(call: Call) {
    const now = deps.ports.clock.now();
    const { server } = call.endpoint;
    const usable = [...call.snapshot.servers.values()].filter(
      ({ id, inService }) =>
        (server === null || id === server) && inService && lockOn(call.snapshot, { server: id }, now) === null,
    );
    // Its own signal: what one listener waits for may be what others wait for, too.
    const signal = AbortSignal.timeout(30_000);
    const one = async (entry: ServerEntry) => ({ server: entry, sighting: await catalogue.forLists(entry, signal) });
    if (server !== null) return Promise.all(usable.map(one));
    const found = await Promise.all(usable.map((entry) => one(entry).catch(() => null)));
    return found.filter((each) => each !== null);
  }

  function wake(concerns: (ear: Ear) => boolean): void {
    for (const ear of ears) if (concerns(ear)) for (const list of ear.listening.lists) ear.lists.add(list);
    if (ears.size > 0) schedule();
  }

  function watchUpstream(server: string): void {
    catalogue.watch(server, new Set(byServer.get(server)?.keys()));
  }

  function watch(ear: Ear, resources: readonly Located[]): readonly Located[] {
    const touched = new Set<string>();
    const person = known(ear.listening.call, 'person').id;
    let theirs = (byPerson.get(person) ?? 0) - ear.watched.size;
    for (const one of ear.watched.values()) {
      const listeners = byResource.get(keyOf(one));
      listeners?.delete(ear);
      if (listeners?.size === 0) byResource.delete(keyOf(one));
      const counts = byServer.get(one.server)!;
      const left = counts.get(one.uri)! - 1;
      if (left === 0) counts.delete(one.uri);
      else counts.set(one.uri, left);
      touched.add(one.server);
    }
    const kept: Located[] = [];
    for (const one of resources) {
      if (theirs >= MAX_WATCHED_PER_PERSON) break;
      const counts = byServer.get(one.server) ?? new Map<string, number>();
      byServer.set(one.server, counts);
      if (!counts.has(one.uri) && counts.size >= MAX_WATCHED_PER_SERVER) continue;
      counts.set(one.uri, (counts.get(one.uri) ?? 0) + 1);
      const listeners = byResource.get(keyOf(one)) ?? new Set<Ear>();
      byResource.set(keyOf(one), listeners.add(ear));
      touched.add(one.server);
      kept.push(one);
      theirs++;
    }
    if (theirs === 0) byPerson.delete(person);
    else byPerson.set(person, theirs);
    ear.watched = new Map(kept.map((one) => [one.shown, one]));
    for (const server of touched) {
      watchUpstream(server);
      if (byServer.get(server)?.size === 0) byServer.delete(server);
    }
    return kept;
  }

  const stopLists = catalogue.onChanged((server) =>
    wake(({ listening: { call } }) => call.endpoint.server === null || call.endpoint.server === server),
  );
  const stopResources = catalogue.onResource((server, uri) => {
    const listeners = byResource.get(keyOf({ server, uri }));
    if (!listeners) return;
    for (const ear of listeners)
      for (const one of ear.watched.values())
        if (one.server === server && one.uri === uri) ear.changed.set(one.shown, one);
    schedule();
  });
  const rechecking = setInterval(() => wake(() => true), RECHECK_MS).unref();

  return {
    async open(listening) {
      const ear: Ear = {
        listening,
        heard: { ...listening.heard },
        lists: new Set(),
        changed: new Map(),
        watched: new Map(),
        busy: true,
        open: true,
      };
      // Heard from now on; what is known is looked up after that, so that nothing falls in between.
      ears.add(ear);
      const missing = [...listening.lists].filter((list) => ear.heard[list] === undefined);
      await within(
        Promise.all(
          missing.map(async (list) => {
            const digest = await digestOf(listening.call, list);
            if (digest !== null) ear.heard[list] ??= digest;
          }),
        ),
        BASELINE_WITHIN_MS,
      );
      ear.busy = false;
      if (ear.lists.size > 0) schedule();
      return {
        watch: (resources) => (ear.open ? watch(ear, resources) : []),
        doubt() {
          for (const list of listening.lists) ear.lists.add(list);
          for (const one of ear.watched.values()) ear.changed.set(one.shown, one);
          schedule();
        },
        heard: () => ({ ...ear.heard }),
        close() {
          ear.open = false;
          ears.delete(ear);
          watch(ear, []);
        },
      };
    },
    stateChanged: (people) =>
      wake(({ listening: { call } }) => people === null || people.has(known(call, 'person').id)),
    get size() {
      return ears.size;
    },
    close() {
      clearInterval(rechecking);
      if (timer !== null) clearTimeout(timer);
      stopLists();
      stopResources();
    },
  };
}

async function within(work: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => void (timer = setTimeout(resolve, ms).unref()));
  await Promise.race([work, late]).finally(() => clearTimeout(timer));
}
