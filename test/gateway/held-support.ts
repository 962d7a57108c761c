/** Somebody who decides about held calls by the API, as fast as a person never is, and what reached the server of each call. */
import type { JsonObject } from '../../src/lib/json.ts';
import type { Rig } from '../support/rig.ts';

export interface OpenRequest {
  readonly id: string;
  /** Digest of the call. */
  readonly call: string;
}

export interface Approver {
  /** The open request whose arguments hold this text, once it is there. */
  asked(text: string): Promise<OpenRequest>;
  decide(text: string, what: 'approve' | 'deny'): Promise<string>;
}

/** Requests are told apart by a text in their arguments; each is read once. */
export function approverOf(rig: Pick<Rig, 'admin'>, who = 'petra'): Approver {
  const read = new Map<string, { readonly text: string; readonly call: string }>();
  async function look(text: string): Promise<OpenRequest | null> {
    const { body } = await rig.admin(who, 'GET', '/approvals?state=mine-to-decide&limit=1000');
    const ids = ((body['approvals'] ?? []) as JsonObject[]).map(({ id }) => id as string);
    for (const id of ids) {
      if (read.has(id)) continue;
      const one = await rig.admin(who, 'GET', `/approvals/${id}`);
      read.set(id, {
        text: JSON.stringify(one.body['arguments'] ?? one.body['uri']),
        call: one.body['call'] as string,
      });
    }
    const id = ids.findLast((one) => read.get(one)!.text.includes(text));
    return id === undefined ? null : { id, call: read.get(id)!.call };
  }
  async function asked(text: string): Promise<OpenRequest> {
    for (let tries = 0; tries < 1_000; tries++) {
      const found = await look(text);
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`nobody was asked about ${text}`);
  }
  return {
    asked,
    async decide(text, what) {
      const { id, call } = await asked(text);
      const decided = await rig.admin(who, 'POST', `/approvals/${id}/${what}`, { call });
      if (decided.status !== 200) throw new Error(decided.text);
      return id;
    },
  };
}
