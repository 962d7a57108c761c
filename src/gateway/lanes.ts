/**
 * Which of a server's connections a call uses. All share one while nothing tells callers apart. A call has a lane of its own as soon as
 * the server's record wants that, everybody has an account of their own there, or an old server may ask something: such a server is told once, when it is opened, what can be asked
 * of whom, and its questions must reach the right person (PROTOCOL.md B, P5).
 */
import { sha256Hex } from '../lib/bytes.ts';
import { capabilitiesFor } from '../protocol/asks.ts';
import type { Connection } from '../upstream/connection.ts';
import { accountsOf } from '../upstream/oauth/auth-target.ts';
import type { Holder } from '../upstream/oauth/holder.ts';
import type { Lane } from '../upstream/target.ts';
import { termsOf } from './asking.ts';
import { known } from './call.ts';
import type { Call } from './call.ts';
import { whoOf } from './guards/state-is-theirs.ts';
import type { ServerEntry } from './snapshot.ts';

/** Null: the shared connection. */
export function laneOf(
  call: Call,
  deps: { readonly version: string },
  shared: (server: ServerEntry) => Promise<Connection>,
): Lane | null | Promise<Lane | null> {
  const server = known(call, 'server');
  const { connections, asks: mayAsk, upstream } = server.record;
  const accounts = upstream.transport === 'stdio' ? 'shared' : accountsOf(upstream.auth);
  const alone = connections === 'person' || accounts !== 'shared';
  if (!alone && mayAsk.length === 0) return null;
  const terms = termsOf(call, deps);
  if (!alone && terms.kinds.size === 0) return null;
  const capabilities = capabilitiesFor(terms.kinds, terms);
  const holder = accounts === 'shared' ? null : holderOf(call, accounts);
  const lane: Lane = {
    key: sha256Hex(
      JSON.stringify([whoOf(known(call, 'caller')), [...terms.kinds].toSorted(), capabilities, holder?.key ?? null]),
    ),
    capabilities,
    ...(holder && { holder }),
  };
  if (alone) return lane;
  // A modern server is told with every request.
  return shared(server).then(({ identity }) => (identity.era === 'legacy' ? lane : null));
}

/**
 * Whose account the call uses. What was exchanged for a narrow token never serves a wider one, nor the other way round: client, chain of
 * actors and scopes are part of the key.
 */
function holderOf(call: Call, accounts: 'linked' | 'exchanged'): Holder {
  const person = known(call, 'person').id;
  if (accounts === 'linked') return { person, key: person, token: null };
  const { issuer, clientId, actChain, scopes, expiresAt } = known(call, 'caller');
  const rights = JSON.stringify([issuer, person, clientId, actChain, [...scopes].toSorted()]);
  const [, value = ''] = /^\S+ (\S+)$/.exec(String(call.headers['authorization'])) ?? [];
  return { person, key: `${person} ${sha256Hex(rights)}`, token: { issuer, value, expiresAt: expiresAt * 1_000 } };
}
