/**
 * Hears what a server says changed. Modern: one `subscriptions/listen` for everything that is wanted, a new one before
 * the old one ends when that changes. Legacy: the stream on which the server speaks unasked (or stdout), plus
 * `resources/subscribe`. Streams that break are opened again after a growing pause, and then everything is reported
 * once, because what changed in between is unknown.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Json, type JsonObject, isJsonObject } from '../lib/json.ts';
import type { ServerChange, UpstreamIdentity } from './connection.ts';
import { paramsFor } from './messages.ts';
import type { Wire } from './wire.ts';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
const SUBSCRIBE_TIMEOUT_MS = 10_000;
const LISTS = ['tools', 'prompts', 'resources'] as const;
const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

export interface Changes {
  add(listener: (change: ServerChange) => void): () => void;
  watch(uris: ReadonlySet<string>): void;
  readonly watching: () => boolean;
  /** A notification that says something changed; others are ignored. Only of a legacy server: a modern one has subscriptions. */
  take(method: string, params: JsonObject): void;
  /** Something may have changed, whatever the server says. */
  report(what: 'tools'): void;
  /** A legacy server met us anew: it knows no subscription, and may be another one. */
  metAgain(): void;
  /** Hear the server even if nobody waits for changes: it may ask there. Resolves when it can speak, or never will. */
  attend(): Promise<void>;
}

export function changesOf(wire: Wire, identity: UpstreamIdentity, life: AbortSignal): Changes {
  const listeners = new Set<(change: ServerChange) => void>();
  let watched: ReadonlySet<string> = new Set();
  const can = (what: string, feature: string): boolean => {
    const capability = identity.capabilities[what];
    return isJsonObject(capability) && capability[feature] === true;
  };
  const lists = LISTS.filter((what) => can(what, 'listChanged'));
  const subscribable = can('resources', 'subscribe');

  const tell = (change: ServerChange): void => {
    for (const listener of listeners) listener(change);
  };
  const tellEverything = (): void => {
    for (const what of LISTS) if (identity.capabilities[what] !== undefined) tell({ what });
    for (const uri of watched) tell({ what: 'resource', uri });
  };
  function take(method: string, params: JsonObject): void {
    for (const what of LISTS) if (method === `notifications/${what}/list_changed`) return tell({ what });
    if (method !== 'notifications/resources/updated' || typeof params['uri'] !== 'string') return;
    const uri = watchedOf(params['uri'], watched);
    if (uri !== undefined) tell({ what: 'resource', uri });
  }

  const wanted = (): JsonObject | null => {
    if (listeners.size === 0) return null;
    const filter: Record<string, Json> = {};
    for (const what of lists) filter[`${what}ListChanged`] = true;
    if (subscribable && watched.size > 0) filter['resourceSubscriptions'] = [...watched];
    return Object.keys(filter).length === 0 ? null : filter;
  };
  const parts = { wire, life, tellEverything };
  const modern = identity.era === 'modern' ? modernEar({ ...parts, take, wanted }) : null;
  const legacy =
    modern === null
      ? legacyEar({ ...parts, subscribable: () => (subscribable && listeners.size > 0 ? watched : new Set()) })
      : null;
  const changed = (): void => {
    modern?.change();
    legacy?.subscribe();
    if (legacy !== null && wanted() !== null) void legacy.attend();
  };

  return {
    add: (listener) => {
      listeners.add(listener);
      if (listeners.size === 1) changed();
      return () => {
        if (listeners.delete(listener) && listeners.size === 0) changed();
      };
    },
    watch: (uris) => {
      if (uris.size === watched.size && [...uris].every((uri) => watched.has(uri))) return;
      watched = new Set(uris);
      changed();
    },
    watching: () => watched.size > 0,
    take: (method, params) => {
      if (legacy !== null) take(method, params);
    },
    report: (what) => tell({ what }),
    metAgain: () => {
      legacy?.metAgain();
      tellEverything();
    },
    attend: () => legacy?.attend() ?? Promise.resolve(),
  };
}

/** The update may be of a part of what is watched. */
function watchedOf(uri: string, watched: ReadonlySet<string>): string | undefined {
  if (watched.has(uri)) return uri;
  for (const whole of watched) if (uri.startsWith(whole.endsWith('/') ? whole : `${whole}/`)) return whole;
  return undefined;
}

interface EarParts {
  readonly wire: Wire;
  readonly life: AbortSignal;
  readonly tellEverything: () => void;
}

const nextPause = (pauseMs: number): number => Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
const pause = (ms: number, signal: AbortSignal): Promise<unknown> =>
  sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);

/** INVARIANT: events of at most one subscription are heard: the newest that the server acknowledged. */
function modernEar({
  wire,
  life,
  take,
  wanted,
  tellEverything,
}: EarParts & { readonly take: Changes['take']; readonly wanted: () => JsonObject | null }): { change(): void } {
  interface Listen {
    readonly seq: number;
    readonly end: AbortController;
  }
  const open = new Set<Listen>();
  let newest = 0;
  let heard = 0;
  let gap = false;
  let planned = false;
  let pauseMs = FIRST_PAUSE_MS;

  function acknowledged(mine: Listen): void {
    heard = Math.max(heard, mine.seq);
    for (const other of open) if (other.seq < mine.seq) other.end.abort('superseded');
    if (!gap) return;
    gap = false;
    tellEverything();
  }

  async function listen(filter: JsonObject): Promise<void> {
    const mine: Listen = { seq: ++newest, end: new AbortController() };
    open.add(mine);
    const since = performance.now();
    const onNotification = (method: string, params: JsonObject): void => {
      if (method === ACKNOWLEDGED) acknowledged(mine);
      else if (mine.seq === heard) take(method, params);
    };
    const reply = await wire
      .exchange(
        {
          method: 'subscriptions/listen',
          params: paramsFor('modern', { notifications: filter }),
          hearing: { onNotification },
        },
        AbortSignal.any([mine.end.signal, life]),
        null,
      )
      .catch(() => null);
    open.delete(mine);
    // What was superseded ended because we wanted it to; an error says that the server will not.
    if (life.aborted || mine.end.signal.aborted || reply?.kind === 'error') return;
    if (mine.seq >= heard) gap = true;
    if (mine.seq !== newest) return;
    if (performance.now() - since > LONGEST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
    const waitMs = pauseMs;
    pauseMs = nextPause(pauseMs);
    await pause(waitMs, life);
    if (mine.seq === newest) apply();
  }

  function apply(): void {
    planned = false;
    if (life.aborted) return;
    const filter = wanted();
    if (filter !== null) void listen(filter);
    else for (const one of open) one.end.abort('nothing is wanted');
  }

  return {
    change: () => {
      if (planned) return;
      planned = true;
      queueMicrotask(apply);
    },
  };
}

/** Stream and subscriptions of a legacy server. On stdio and HTTP+SSE there is only the one stream they have anyway. */
function legacyEar({
  wire,
  life,
  subscribable,
  tellEverything,
}: EarParts & { readonly subscribable: () => ReadonlySet<string> }): {
  attend(): Promise<void>;
  subscribe(): void;
  metAgain(): void;
} {
  const subscribed = new Set<string>();
  let work: Promise<void> = Promise.resolve();
  let turn = new AbortController();
  let ready: Promise<void> | null = null;

  async function hear(opened: () => void): Promise<void> {
    let gap = false;
    for (let pauseMs = FIRST_PAUSE_MS; !life.aborted;) {
      turn = new AbortController();
      const signal = AbortSignal.any([life, turn.signal]);
      const since = performance.now();
      const end = await wire
        .hear?.(signal, () => {
          opened();
          if (gap) tellEverything();
          gap = false;
        })
        .catch(() => ({ retryMs: null }));
      if (end === undefined || end === 'unsupported') return;
      gap = true;
      if (performance.now() - since > LONGEST_PAUSE_MS) pauseMs = FIRST_PAUSE_MS;
      await pause(Math.max(end.retryMs ?? 0, pauseMs), signal);
      pauseMs = turn.signal.aborted ? FIRST_PAUSE_MS : nextPause(pauseMs);
    }
  }

  async function settle(): Promise<void> {
    const want = subscribable();
    const ask = (method: string, uri: string): Promise<boolean> =>
      wire.exchange({ method, params: { uri } }, life, SUBSCRIBE_TIMEOUT_MS).then(
        ({ kind }) => kind === 'result',
        () => false,
      );
    for (const uri of subscribed) {
      if (want.has(uri) || life.aborted) continue;
      subscribed.delete(uri);
      await ask('resources/unsubscribe', uri);
    }
    for (const uri of want) {
      if (subscribed.has(uri) || life.aborted) continue;
      if (await ask('resources/subscribe', uri)) subscribed.add(uri);
    }
  }
  const subscribe = (): void => void (work = work.then(settle));

  return {
    attend: () => {
      if (wire.hear === null) return Promise.resolve();
      return (ready ??= new Promise((resolve) => void hear(resolve).finally(resolve)));
    },
    subscribe,
    metAgain: () => {
      turn.abort('met again');
      work = work.then(() => subscribed.clear());
      subscribe();
    },
  };
}
