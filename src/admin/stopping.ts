/**
 * What a lock takes along in its own commit (NH-06): held calls of what it falls on end, and so do the tokens of a person or agent; and a
 * lock without an end takes its subject out of service, so that lifting it gives nothing back: enabling, approving or signing in again does,
 * by all their rules. A lock that ends by itself is a pause: it ends held calls, and no more.
 */
import { ToolRecord } from '../integrity/records.ts';
import { withdraw } from '../integrity/review.ts';
import { Agent, agentKey } from '../inventory/agents.ts';
import { Credential } from '../inventory/credentials.ts';
import { Server } from '../inventory/records.ts';
import type { Lock } from '../inventory/records.ts';
import type { JsonObject } from '../lib/json.ts';
import type { Write } from '../store/state.ts';
import type { AdminContext } from './context.ts';
import { endingWrites, heldCallWrites } from './leaving.ts';
import { itemOf, itemsOf } from './records.ts';

export interface Stopped {
  readonly writes: readonly Write[];
  /** `kind/id` of records that are out of service with it. */
  readonly outOfService: readonly string[];
  /** Held calls that end with it. */
  readonly heldCalls: number;
}

export function stoppingWrites(ctx: AdminContext, lock: Lock): Stopped {
  const held = heldWrites(ctx, lock);
  const ended = lock.until === null ? endedWrites(ctx, lock) : [];
  const voids = lock.until === null ? voidWrites(ctx, lock) : [];
  const ids = new Set(held.map(({ id }) => id));
  const writes = [...held, ...ended, ...voids.filter(({ kind, id }) => kind !== 'approval' || !ids.has(id))];
  return { writes, outOfService: ended.map(({ kind, id }) => `${kind}/${id}`), heldCalls: held.length };
}

/** Held calls of what a lock falls on that are open still. */
export function heldWrites(ctx: AdminContext, { subject: { kind, value } }: Lock): Write[] {
  const using =
    kind === 'credential' ? new Set(itemOf(ctx, 'credential', value, Credential)?.servers) : new Set<string>();
  return heldCallWrites(ctx, ({ person, agent, actors, server, tool, decisions }) => {
    switch (kind) {
      case 'organisation':
        return true;
      case 'user':
        // A yes of theirs is doubted, too, and does not come back with them.
        return person === value || decisions.some(({ by }) => by === value);
      case 'agent':
        return agent === value || actors?.includes(value) === true;
      case 'server':
        return server === value;
      case 'tool':
        return `${server}/${tool}` === value;
      case 'credential':
        return using.has(server);
      case 'token':
        return false;
      default:
        return kind satisfies never;
    }
  });
}

function voidWrites(ctx: AdminContext, { subject: { kind, value }, reason, by }: Lock): Write[] {
  if (kind === 'user') return endingWrites(ctx, [{ subject: { kind: 'person', value }, reason, by }]);
  if (kind === 'agent') return endingWrites(ctx, [{ subject: { kind: 'client', value }, reason, by }]);
  return [];
}

function endedWrites(ctx: AdminContext, { subject: { kind, value } }: Lock): Write[] {
  const write = (of: string, id: string, body: object, expectedRevision: number): Write => ({
    kind: of,
    org: ctx.org,
    id,
    body: body as JsonObject,
    expectedRevision,
  });
  if (kind === 'server') {
    const server = itemOf(ctx, 'server', value, Server);
    if (server?.state !== 'enabled') return [];
    const { id, revision, ...body } = server;
    return [write('server', id, { ...body, state: 'suspended' }, revision)];
  }
  if (kind === 'credential') {
    const credential = itemOf(ctx, 'credential', value, Credential);
    if (credential?.state !== 'enabled') return [];
    const { id, revision, ...body } = credential;
    return [write('credential', id, { ...body, state: 'suspended' }, revision)];
  }
  if (kind === 'agent') {
    return itemsOf(ctx, 'agent', Agent)
      .filter(({ clientId, state }) => clientId === value && state === 'active')
      .map(({ id, revision, ...body }) => ({
        ...write('agent', id, { ...body, state: 'suspended' }, revision),
        key: agentKey(body.issuer, body.clientId),
      }));
  }
  if (kind === 'tool') {
    const tool = itemOf(ctx, 'tool', value, ToolRecord);
    if (!tool?.approved) return [];
    const { id, revision, ...body } = tool;
    return [write('tool', id, withdraw(body), revision)];
  }
  return [];
}
