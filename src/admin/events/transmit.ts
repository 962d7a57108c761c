/**
 * Telling authorization servers what ended here (RFC 8417, 8935), so that their sessions and refresh grants end, too. The source is the
 * history of changes itself: each void, and each person who became inactive or active again or is gone, in order, from a durable cursor on.
 * Nothing here is needed for a refusal: the snapshot of this gateway is the gate (TRUST.md R2). What is sent twice is known by its id.
 */
import type { EventStream } from '../../directory/records.ts';
import { Person } from '../../directory/records.ts';
import { Void } from '../../directory/voids.ts';
import { sha256Hex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { EventName } from '../../lib/security-event.ts';
import { EVENT_TYPES } from '../../lib/security-event.ts';
import type { Follower, StateStore } from '../../store/state.ts';
import { deliverEvents } from '../../upstream/event-delivery.ts';
import type {
  DeliveryStatus,
  EventDelivery,
  EventReceiver,
  EventSource,
  OutgoingEvent,
} from '../../upstream/event-delivery.ts';
import type { EventKey } from './event-key.ts';

/** An authorization server that is told. */
export interface EventPeer extends EventReceiver {
  /** Its issuer: whose people, grants and sessions it is told of; also the audience. */
  readonly issuer: string;
}

export interface PeerStatus extends DeliveryStatus {
  readonly issuer: string;
}

/** What the admin listener serves and shows of it. */
export interface GatewayEvents {
  readonly publicKeys: () => readonly JsonObject[];
  readonly peers: () => readonly PeerStatus[];
}

export interface Transmitter extends GatewayEvents {
  /** `issuer`: our own, the origin of the admin listener. */
  start(issuer: string): void;
  close(): Promise<void>;
}

export interface TransmitterDeps {
  readonly org: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly follower: Pick<Follower, 'records' | 'revision'>;
  readonly key: EventKey;
  readonly peers: readonly EventPeer[];
  readonly log: {
    warn(fields: object, message: string): void;
    error(fields: object, message: string): void;
  };
}

export function transmitter(deps: TransmitterDeps): Transmitter {
  let running: ReadonlyArray<{ readonly issuer: string; readonly delivery: EventDelivery }> = [];
  let forget: () => void = () => undefined;
  return {
    publicKeys: () => [deps.key.publicJwk],
    peers: () => running.map(({ issuer, delivery }) => ({ issuer, ...delivery.status() })),
    start(issuer) {
      running = deps.peers.map((peer) => ({
        issuer: peer.issuer,
        delivery: deliverEvents({
          source: endingsFor(deps, peer, issuer),
          receiver: peer,
          clock: deps.clock,
          onRefused: (event, code) =>
            deps.log.error(
              { peer: peer.issuer, code, event: event.name },
              'an authorization server refused a security event',
            ),
          onLater: (code) =>
            deps.log.warn({ peer: peer.issuer, code }, 'an authorization server does not take security events now'),
          onFault: (fault) => deps.log.error({ peer: peer.issuer, err: fault }, 'security events cannot be sent'),
        }),
      }));
      forget = deps.state.onCommit(() => {
        for (const { delivery } of running) delivery.wake();
      });
    },
    async close() {
      forget();
      await Promise.all(running.map(({ delivery }) => delivery.close()));
    },
  };
}

interface Told extends OutgoingEvent {
  readonly name: EventName;
  /** The last of its revision, which is done with it: the cursor may move there. */
  readonly completes: number | null;
}

const PAGE = 200;
/** The cursor is a commit of its own: not after every event of a long row. What is sent again after a crash is known by its id. */
const SAVE_EVERY_MS = 2_000;

const cursorId = (issuer: string): string => sha256Hex(issuer).slice(0, 40);

function endingsFor(deps: TransmitterDeps, peer: EventPeer, issuer: string): EventSource<Told> {
  const { org, state, clock } = deps;
  let queue: Told[] = [];
  let cursor: number | null = null;
  let saved = 0;
  let savedAt = 0;

  const toldOf = (name: EventName, about: string, at: number, claims: JsonObject, members: JsonObject): Told => {
    const jti = sha256Hex(`${org} ${peer.issuer} ${name} ${about}`).slice(0, 40);
    return {
      name,
      at,
      completes: null,
      sign: () =>
        deps.key.sign({
          iss: issuer,
          aud: peer.issuer,
          iat: Math.floor(clock.now() / 1_000),
          jti,
          ...claims,
          events: { [EVENT_TYPES[name]]: members },
        }),
    };
  };

  /** Their names at this issuer. Somebody whose record is gone had them in the history. */
  async function subjectsOf(id: string): Promise<readonly string[]> {
    const record = deps.follower.records.get('person', org, id);
    const body =
      record?.body ?? (await state.history('person', org, id)).findLast((change) => change.body !== null)?.body;
    const person = Person.safeParse(body).data;
    return person === undefined ? [] : subjectsIn(person, peer.issuer);
  }

  async function ofVoid(body: JsonObject, about: string, at: number): Promise<Told[]> {
    const entry = Void.safeParse(body).data;
    if (entry === undefined || saidBy(deps, entry.by) === peer.issuer) return [];
    const { kind, value } = entry.subject;
    const members = { event_timestamp: entry.before / 1_000, initiating_entity: 'admin' };
    switch (kind) {
      case 'person':
        return (await subjectsOf(value)).map((sub) =>
          toldOf('session-revoked', `${about} ${sub}`, at, { sub_id: issSub(peer.issuer, sub) }, members),
        );
      case 'client':
        return [toldOf('tokens-revoked', about, at, { sub_id: { format: 'opaque', id: value } }, members)];
      case 'grant': {
        const grant = ofIssuer(value, peer.issuer);
        return grant === null ? [] : [toldOf('token-revoked', about, at, {}, { ...members, grant_id: grant })];
      }
      case 'session': {
        const session = ofIssuer(value, peer.issuer);
        return session === null
          ? []
          : [toldOf('session-revoked', about, at, { sub_id: { format: 'opaque', id: session } }, members)];
      }
      case 'token':
        return []; // one access token of its own: it can take nothing back
      default:
        return kind satisfies never;
    }
  }

  const ofAccount = (name: EventName, about: string, at: number) => (sub: string) =>
    toldOf(name, `${about} ${sub}`, at, { sub_id: issSub(peer.issuer, sub) }, { event_timestamp: at / 1_000 });

  /** Who may not sign in there from now on, who may again, and accounts that are nobody's any more. */
  async function ofPerson(id: string, body: JsonObject, revision: number, about: string, at: number): Promise<Told[]> {
    const person = Person.safeParse(body).data;
    if (person === undefined) return [];
    const barred = await barredBefore(id, revision);
    const subjects = subjectsIn(person, peer.issuer);
    if (person.state === 'inactive') inactive.add(id);
    else inactive.delete(id);
    const told = (name: EventName, of: readonly string[]): Told[] => of.map(ofAccount(name, about, at));
    const isTheirs = (sub: string): boolean => subjects.includes(sub);
    const wasBarred = (sub: string): boolean => barred.includes(sub);
    return [
      ...told(
        'account-purged',
        barred.filter((sub) => !isTheirs(sub)),
      ),
      ...(person.state === 'inactive'
        ? told(
            'account-disabled',
            subjects.filter((sub) => !wasBarred(sub)),
          )
        : told('account-enabled', barred.filter(isTheirs))),
    ];
  }

  /** A record that is gone. Who is known again later is a new record: nothing that was said of the old one may hold for them. */
  async function ofGone(id: string, about: string, at: number): Promise<Told[]> {
    inactive.delete(id);
    return (await subjectsOf(id)).map(ofAccount('account-purged', about, at));
  }

  /**
   * While a directory is loaded, tens of thousands change: for what happens from now on, who is inactive is kept here, and the history is
   * asked only for them and for what was behind the cursor. INVARIANT: `certainAfter` is read after the set was filled, so the set is not newer.
   */
  const inactive = new Set<string>();
  let certainAfter: number | null = null;
  async function barredBefore(id: string, revision: number): Promise<readonly string[]> {
    if (certainAfter === null) {
      for (const record of deps.follower.records.list('person', org))
        if (record.body['state'] === 'inactive') inactive.add(record.id);
      certainAfter = await state.head();
    }
    if (revision > certainAfter && !inactive.has(id)) return [];
    const history = await state.history('person', org, id);
    const before = Person.safeParse(history.findLast((change) => change.revision < revision)?.body).data;
    return before?.state === 'inactive' ? subjectsIn(before, peer.issuer) : [];
  }

  /** Nobody was told of anything yet: what holds now, in the place of its history. */
  async function first(): Promise<void> {
    const { records, revision } = deps.follower;
    const now = clock.now();
    for (const { id, body, revision: of } of records.list('person', org)) {
      const person = Person.safeParse(body).data;
      if (person?.state !== 'inactive') continue;
      for (const sub of subjectsIn(person, peer.issuer))
        queue.push(
          toldOf('account-disabled', `first ${of} ${id} ${sub}`, now, { sub_id: issSub(peer.issuer, sub) }, {}),
        );
    }
    for (const { id, body } of records.list('void', org)) {
      if (Number(body['until']) > now) queue.push(...(await ofVoid(body, `first ${id}`, now)));
    }
    cursor = revision;
    complete(revision);
  }

  const complete = (revision: number): void => {
    const last = queue.pop();
    if (last !== undefined) queue.push({ ...last, completes: revision });
  };

  async function fill(): Promise<void> {
    if (cursor === null) {
      const record = deps.follower.records.get('event_cursor', org, cursorId(peer.issuer));
      if (record === undefined) return first();
      cursor = saved = Number(record.body['revision']);
    }
    for (;;) {
      const changes = await state.changesAfter(cursor, PAGE);
      const last = changes.at(-1);
      if (last === undefined) return;
      for (const change of changes) {
        if (change.org !== org) continue;
        const about = `${change.revision}.${change.ordinal}`;
        const { kind, id, body, revision, at } = change;
        if (kind === 'void' && body !== null) queue.push(...(await ofVoid(body, about, at)));
        if (kind === 'person')
          queue.push(...(body === null ? await ofGone(id, about, at) : await ofPerson(id, body, revision, about, at)));
      }
      cursor = last.revision;
      if (queue.length > 0) return complete(last.revision);
    }
  }

  async function save(revision: number): Promise<void> {
    const body = { issuer: peer.issuer, revision };
    await state.commit({
      actor: 'remit:events',
      reason: 'security events up to here were taken',
      writes: [{ kind: 'event_cursor', org, id: cursorId(peer.issuer), body }],
    });
    saved = revision;
    savedAt = clock.now();
  }

  let reached = 0;
  return {
    async next() {
      if (queue.length === 0) {
        const nothingYet = cursor === null;
        await fill();
        // An installation in which nothing ended keeps its place, too: later starts begin there.
        if (nothingYet && queue.length === 0 && saved === 0) await save((reached = cursor ?? 0));
        if (queue.length === 0 && reached > saved) await save(reached);
      }
      return queue[0] ?? null;
    },
    async settled(event) {
      queue = queue.slice(1);
      if (event.completes === null) return;
      reached = event.completes;
      if (clock.now() - savedAt >= SAVE_EVERY_MS) await save(reached);
    },
  };
}

const issSub = (iss: string, sub: string): JsonObject => ({ format: 'iss_sub', iss, sub });

function subjectsIn(person: Person, issuer: string): readonly string[] {
  return [person, ...(person.also ?? [])].filter((one) => one.issuer === issuer).map(({ subject }) => subject);
}

/** `issuer id` -> id, if it is that issuer's. */
const ofIssuer = (value: string, issuer: string): string | null =>
  value.startsWith(`${issuer} `) ? value.slice(issuer.length + 1) : null;

/** The issuer of the stream that said so: it knows already, and telling it would go round in a circle. */
function saidBy({ follower, org }: TransmitterDeps, by: string): string | null {
  const id = /^event_stream:(.+)$/.exec(by)?.[1];
  const stream = id === undefined ? undefined : follower.records.get('event_stream', org, id);
  return (stream?.body as Partial<EventStream> | undefined)?.issuer ?? null;
}
