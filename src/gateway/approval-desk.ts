/**
 * Between the pipeline and the approval records: finds the approval of exactly this call, opens a request when there is none,
 * and marks one used. Single use is a compare-and-set in the store, so two nodes cannot spend one approval.
 */
import { matching, waiting } from '../approvals/binding.ts';
import type { HeldApproval } from '../approvals/binding.ts';
import { callDigest } from '../approvals/call-digest.ts';
import type { ExactCall } from '../approvals/call-digest.ts';
import { requestApproval, useApproval } from '../approvals/machine.ts';
import { standingRoles } from '../directory/roles.ts';
import type { Digest } from '../lib/canonical-json.ts';
import type { Clock } from '../lib/clock.ts';
import { isFault } from '../lib/fault.ts';
import { newId } from '../lib/ids.ts';
import type { JsonObject } from '../lib/json.ts';
import type { StateStore } from '../store/state.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import type { Snapshot } from './snapshot.ts';
import { lockOn } from './standing.ts';

export type Held =
  | { readonly state: 'pending'; readonly id: string; readonly expiresAt: number }
  | { readonly state: 'approved'; readonly id: string; readonly call: Digest };

export interface ApprovalDesk {
  /** The open or granted approval of exactly this call; opens a request when there is neither. */
  holdFor(call: Call): Promise<Held>;
  /** Spends it on the call with this digest. False: somebody used, ended or changed it first. */
  use(id: string, call: Digest): Promise<boolean>;
}

export function approvalDesk(deps: {
  readonly org: string;
  readonly clock: Clock;
  readonly state: StateStore;
  readonly snapshot: () => Snapshot;
  readonly ttlMs: number;
  readonly advanceTo: (revision: number) => Promise<void>;
}): ApprovalDesk {
  const asHeld = ({ id, state, call, expiresAt }: HeldApproval): Held =>
    state === 'approved' ? { state, id, call: call as Digest } : { state: 'pending', id, expiresAt };

  async function commit(id: string, body: object, reason: string, expectedRevision: number | null): Promise<boolean> {
    try {
      const { revision } = await deps.state.commit({
        actor: 'remit:gateway',
        reason,
        writes: [{ kind: 'approval', org: deps.org, id, body: body as JsonObject, expectedRevision }],
      });
      await deps.advanceTo(revision);
      return true;
    } catch (error) {
      if (isFault(error, 'store_conflict')) return false;
      throw error;
    }
  }

  /** A yes is worth what its giver may still give: who was locked out, left or lost the role since has agreed to nothing. */
  function approverStands({ state, decidedBy }: HeldApproval, now: number): boolean {
    if (state !== 'approved') return true;
    const snapshot = deps.snapshot();
    const approver = decidedBy === null ? undefined : snapshot.people.byId(decidedBy);
    return (
      approver?.state === 'active' &&
      standingRoles(approver, snapshot.groups).includes('approver') &&
      lockOn(snapshot, { person: approver.id }, now) === null
    );
  }

  return {
    async holdFor(call) {
      const tool = known(call, 'tool');
      const exact: ExactCall = {
        org: deps.org,
        person: known(call, 'person').id,
        agent: known(call, 'caller').clientId,
        server: tool.server,
        tool: tool.name,
        definition: tool.approved!.digest,
        arguments: known(call, 'arguments'),
        terms: { ...tool.facts! },
      };
      const digest = callDigest(exact);
      // The call goes on that this approval was spent on; that each of its legs goes once is perform.ts's to see to.
      const spent = call.facts.resumed?.approval;
      if (spent?.call === digest) return { state: 'approved', id: spent.id, call: digest };
      const now = deps.clock.now();
      const open = (deps.snapshot().approvals.get(digest) ?? []).filter((approval) => approverStands(approval, now));
      const existing = matching(open, digest, now) ?? waiting(open, digest, now);
      if (existing) return asHeld(existing);

      const request = requestApproval(exact, now, deps.ttlMs);
      const id = newId('apr', deps.clock);
      await commit(id, request, `held call ${call.id}`, null);
      return { state: 'pending', id, expiresAt: request.expiresAt };
    },

    async use(id, call) {
      const entry = deps
        .snapshot()
        .approvals.get(call)
        ?.find((approval) => approval.id === id);
      const now = deps.clock.now();
      if (!entry || !approverStands(entry, now)) return false;
      const { id: _id, revision, ...approval } = entry;
      const used = useApproval(approval, call, now);
      return used.ok && (await commit(id, used.value, 'used', revision));
    },
  };
}
