/**
 * Between the pipeline and the approval records: finds the approval of exactly this call, opens a request when there is none, lets calls
 * wait for its end, marks one used. Single use is a compare-and-set in the store, so two nodes cannot spend one approval; a call has one
 * open request at a time, by a unique key in the store, so two nodes cannot ask twice. Nobody is asked too often (AP-06): a caller has so
 * many open requests, and what was denied is refused by itself for a while.
 * Who waits is woken by the state this node follows, never by looking at a database.
 */
import { callDigest } from '../approvals/call-digest.ts';
import { cancelApproval, expireApproval, isAgreed, requestApproval, useApproval } from '../approvals/machine.ts';
import { isReadable } from '../approvals/readable.ts';
import type { Approval } from '../approvals/records.ts';
import { isOpen, openKey } from '../approvals/records.ts';
import type { ArgumentsBox } from '../approvals/sealed-arguments.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import { isJsonObject } from '../lib/json.ts';
import type { StateStore, Write } from '../store/state.ts';
import { sayOf } from './approvers.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { exactCallOf, neededFor } from './exact-call.ts';
import { heldBecause } from './held-because.ts';
import type { ApprovalEntry, Snapshot } from './snapshot.ts';

/** How a request ended without a yes that could be used. `too_large`: nobody could read what it would send. */
export type Over = 'denied' | 'expired' | 'cancelled' | 'failed' | 'used' | 'declined' | 'too_large';

export type Held =
  | { readonly state: 'pending'; readonly id: string; readonly expiresAt: number; readonly page: string | null }
  | { readonly state: 'approved'; readonly id: string; readonly call: Digest }
  /** `again`: when asking anew makes sense, ms since the epoch; null: at once. */
  | { readonly state: 'over'; readonly id: string | null; readonly how: Over; readonly again: number | null }
  | { readonly state: 'full'; readonly open: number; readonly again: number };

export interface ApprovalSettings {
  /** How long a request waits for people, ms. */
  readonly pendingMs: number;
  /** How long a yes may wait to be used. */
  readonly validMs: number;
  /** How long the same call is refused after a no. */
  readonly deniedHoldMs: number;
  /** Open requests of one person through one agent. */
  readonly openPerCaller: number;
  /** How long one round of a modern client waits for people; 0: it does not. */
  readonly holdMs: number;
  /** How often a modern client may come back in one call. */
  readonly rounds: number;
  /** How long a client that can do nothing but wait is kept waiting; 0: it is not. */
  readonly blockMs: number;
}

// A client gives up after 60 s unless it is told otherwise (PROTOCOL.md C), so both stay below.
export const APPROVAL_SETTINGS: ApprovalSettings = {
  pendingMs: 60 * 60_000,
  validMs: 15 * 60_000,
  deniedHoldMs: 60 * 60_000,
  openPerCaller: 10,
  holdMs: 45_000,
  rounds: 10,
  blockMs: 50_000,
};

/** Our key among what a client is asked; a server's keys never begin like it. */
export const OUR_KEYS = 'gw.';
export const APPROVAL_KEY = `${OUR_KEYS}approval`;

export interface ApprovalDesk {
  /** The open or granted approval of exactly this call; opens a request when there is neither. */
  holdFor(call: Call): Promise<Held>;
  /** Spends it on the call with this digest. False: somebody used, ended or changed it first. */
  use(id: string, call: Digest): Promise<boolean>;
  /** Whether what was spent is still good at the moment of leaving: this very call as the state is now, by people who may still agree to it. */
  stands(id: string, call: Call): boolean;
  /** As this node knows it. */
  read(id: string): Approval | null;
  /** Resolves with the record once it is not pending any more, when the time is up, or when the signal fires. */
  wait(id: string, withinMs: number, signal: AbortSignal): Promise<Approval | null>;
  /** Ends an open one in the name of who asked. False: it was over. */
  cancel(id: string, why: string): Promise<boolean>;
  /** The requester's page; null: nobody knows where it is. */
  page(id: string): string | null;
  /** Records have changed. */
  noticed(ids: Iterable<string>): void;
  /** Writes off what nobody decided or used in time. @returns what was written off. */
  sweep(): Promise<readonly string[]>;
}

export interface DeskDeps {
  readonly org: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly snapshot: () => Snapshot;
  readonly stored: (id: string) => Approval | null;
  readonly settings: ApprovalSettings;
  readonly arguments: ArgumentsBox;
  readonly page: (id: string) => string | null;
  readonly advanceTo: (revision: number) => Promise<void>;
}

export function approvalDesk(deps: DeskDeps): ApprovalDesk {
  const { clock, settings, snapshot } = deps;
  const waiters = new Map<string, Set<() => void>>();
  /** Requests of one caller are opened one after the other: the bound holds however many come at once. */
  const opening = new Map<string, Promise<unknown>>();

  const writeOf = (id: string, approval: Approval, expectedRevision: number | null): Write => ({
    kind: 'approval',
    org: deps.org,
    id,
    body: approval,
    expectedRevision,
    ...(isOpen(approval) && { key: openKey(approval) }),
  });

  async function commit(writes: readonly Write[], reason: string): Promise<boolean> {
    try {
      const { revision } = await deps.state.commit({ actor: 'remit:gateway', reason, writes });
      await deps.advanceTo(revision);
      return true;
    } catch (error) {
      if (!isFault(error, 'store_conflict')) throw error;
      // Somebody else was first, perhaps on another node: what they wrote is what counts.
      await deps.advanceTo(await deps.state.head());
      return false;
    }
  }

  const plain = ({ id: _id, revision: _revision, ...approval }: ApprovalEntry): Approval => approval;

  /** A yes is worth what its giver may still give: who was locked out, left or lost the role since has agreed to nothing. */
  const agreed = (approval: Approval, now: number): boolean =>
    isAgreed(approval, (person) => sayOf(snapshot(), person, approval, now) === 'may');

  /** What there is already for this call; null: nothing that counts. */
  function found(digest: Digest, now: number): Held | null {
    for (const entry of snapshot().approvals.get(digest) ?? []) {
      if (now >= entry.expiresAt) continue;
      if (entry.state === 'approved' && agreed(entry, now)) return { state: 'approved', id: entry.id, call: digest };
      if (entry.state === 'pending')
        return { state: 'pending', id: entry.id, expiresAt: entry.expiresAt, page: deps.page(entry.id) };
    }
    const denied = snapshot().denied.get(digest);
    const again = (denied?.decidedAt ?? 0) + settings.deniedHoldMs;
    return denied && now < again ? { state: 'over', id: denied.id, how: 'denied', again } : null;
  }

  /** Those of this person through this agent that people still have before them. */
  function openOf({ person, agent }: Pick<Approval, 'person' | 'agent'>, now: number): readonly ApprovalEntry[] {
    return [...snapshot().approvals.values()]
      .flat()
      .filter((one) => one.state === 'pending' && one.person === person && one.agent === agent && now < one.expiresAt);
  }

  async function open(call: Call, digest: Digest): Promise<Held> {
    for (let tries = 0; tries < 5; tries++) {
      const now = clock.now();
      const there = found(digest, now);
      if (there) return there;
      const exact = exactCallOf(call, deps.org);
      const theirs = openOf(exact, now);
      if (theirs.length >= settings.openPerCaller)
        return { state: 'full', open: theirs.length, again: Math.min(...theirs.map(({ expiresAt }) => expiresAt)) };
      if (!isReadable(exact.arguments)) return { state: 'over', id: null, how: 'too_large', again: null };
      const id = newId('apr', clock);
      const caller = known(call, 'caller');
      const tool = known(call, 'tool');
      const because = heldBecause(call);
      const request = requestApproval(exact, now, settings.pendingMs, {
        issuer: caller.issuer,
        ...(caller.actChain.length > 0 && { actors: [...caller.actChain] }),
        sealed: deps.arguments.seal(exact.arguments, digest),
        validMs: settings.validMs,
        needed: neededFor(tool),
        policy: call.snapshot.policyDigest,
        risk: tool.facts!.risk,
        justification: tool.approved!.justification,
        ...(because.length > 0 && { because }),
        ...(call.facts.contentHold && { found: call.facts.contentHold.map((one) => one.slice(0, 300)) }),
        ref: call.id,
      });
      // What stands in its place is over, or its yes is worth nothing any more.
      const before = (snapshot().approvals.get(digest) ?? []).map((entry) => {
        const over = expireApproval(plain(entry), now);
        const void_ = { ...plain(entry), state: 'cancelled', ended: 'who agreed may not do so any more' } as const;
        return writeOf(entry.id, over ?? void_, entry.revision);
      });
      if (await commit([...before, writeOf(id, request, null)], `held call ${call.id}`))
        return { state: 'pending', id, expiresAt: request.expiresAt, page: deps.page(id) };
    }
    throw new Error('the approvals of this call keep changing');
  }

  /** What became of the request that this client waits for; null: it is open still. */
  async function ended(call: Call): Promise<Held | null> {
    const id = call.facts.waits?.held ?? call.facts.waitedFor;
    if (typeof id !== 'string') return null;
    const approval = desk.read(id);
    const answers = call.message.params['inputResponses'];
    const answer = isJsonObject(answers) ? answers[APPROVAL_KEY] : undefined;
    const action = isJsonObject(answer) ? answer['action'] : undefined;
    // `accept` only says that the page was opened; whoever declines takes the call back (PROTOCOL.md C2).
    if (action === 'decline' || action === 'cancel') {
      await desk.cancel(id, 'declined by who asked');
      return { state: 'over', id, how: 'declined', again: null };
    }
    const now = clock.now();
    if (approval === null) return { state: 'over', id, how: 'cancelled', again: null };
    if (isOpen(approval)) return now < approval.expiresAt ? null : { state: 'over', id, how: 'expired', again: null };
    const how = approval.state as Over;
    const again = how === 'denied' ? (approval.decidedAt ?? now) + settings.deniedHoldMs : null;
    return { state: 'over', id, how, again };
  }

  const desk: ApprovalDesk = {
    async holdFor(call) {
      const digest = callDigest(exactCallOf(call, deps.org));
      // The call goes on that this approval was spent on; that each of its legs goes once is perform.ts's to see to.
      const spent = call.facts.resumed?.approval;
      if (spent?.call === digest) return { state: 'approved', id: spent.id, call: digest };
      const there = (await ended(call)) ?? found(digest, clock.now());
      if (there) return there;
      const who = JSON.stringify([known(call, 'person').id, known(call, 'caller').clientId]);
      const turn = (opening.get(who) ?? Promise.resolve()).catch(() => undefined).then(() => open(call, digest));
      opening.set(who, turn);
      try {
        return await turn;
      } finally {
        if (opening.get(who) === turn) opening.delete(who);
      }
    },

    async use(id, call) {
      const entry = snapshot()
        .approvals.get(call)
        ?.find((approval) => approval.id === id);
      const now = clock.now();
      if (!entry || !agreed(entry, now)) return false;
      const used = useApproval(plain(entry), call, now);
      return used.ok && (await commit([writeOf(id, used.value, entry.revision)], 'used'));
    },

    stands(id, call) {
      const spent = deps.stored(id);
      if (spent === null || spent.call !== callDigest(exactCallOf(call, deps.org))) return false;
      return spent.state === 'used' && agreed({ ...spent, state: 'approved' }, clock.now());
    },

    read: deps.stored,

    async wait(id, withinMs, signal) {
      const until = performance.now() + withinMs;
      for (;;) {
        const approval = desk.read(id);
        const left = Math.min(until - performance.now(), (approval?.expiresAt ?? 0) - clock.now());
        if (approval?.state !== 'pending' || left <= 0 || signal.aborted) return approval;
        await new Promise<void>((resolve) => {
          const mine = waiters.get(id) ?? new Set();
          waiters.set(id, mine);
          const wake = (): void => {
            clearTimeout(timer);
            signal.removeEventListener('abort', wake);
            mine.delete(wake);
            if (mine.size === 0) waiters.delete(id);
            resolve();
          };
          const timer = setTimeout(wake, Math.min(left, LONGEST_TIMER_MS));
          signal.addEventListener('abort', wake, { once: true });
          mine.add(wake);
        });
      }
    },

    async cancel(id, why) {
      for (let tries = 0; tries < 3; tries++) {
        const entry = openEntry(id);
        if (!entry) return false;
        const { person } = entry;
        const cancelled = cancelApproval(plain(entry), { person, mayDecide: false }, clock.now(), why);
        if (!cancelled.ok) return false;
        if (await commit([writeOf(id, cancelled.value, entry.revision)], why)) return true;
      }
      return false;
    },

    page: deps.page,

    noticed(ids) {
      for (const id of ids) for (const wake of waiters.get(id) ?? []) wake();
    },

    async sweep() {
      const now = clock.now();
      const gone: string[] = [];
      for (const entry of [...snapshot().approvals.values()].flat()) {
        const expired = expireApproval(plain(entry), now);
        if (expired && (await commit([writeOf(entry.id, expired, entry.revision)], 'expired'))) gone.push(entry.id);
      }
      return gone;
    },
  };

  const openEntry = (id: string): ApprovalEntry | undefined => {
    const call = desk.read(id)?.call;
    return call === undefined
      ? undefined
      : snapshot()
          .approvals.get(call)
          ?.find((entry) => entry.id === id);
  };
  return desk;
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;
