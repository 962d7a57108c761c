/**
 * Which server may have which credential at this moment, read from the records: the broker's book (NH-03, NH-07, NH-08).
 * A record that cannot be read gives nothing; a lock that cannot be read counts as one on every credential.
 */
import { Credential, SealedSecret, sealedSecretId, useOf } from '../inventory/credentials.ts';
import { lockIndex, lockedBy } from '../inventory/locks.ts';
import type { LockIndex } from '../inventory/locks.ts';
import { Lock, Server } from '../inventory/records.ts';
import type { Clock } from '../lib/clock.ts';
import type { StoredRecord } from '../store/state.ts';
import type { CredentialBook } from '../upstream/broker/broker.ts';
import type { StateView } from './gateway.ts';

/** Records are replaced, never changed. */
const READ = new WeakMap<StoredRecord, unknown>();

function read<T>(
  record: StoredRecord | undefined,
  schema: { safeParse(value: unknown): { success: boolean; data?: T } },
) {
  if (record === undefined) return undefined;
  if (!READ.has(record)) READ.set(record, schema.safeParse(record.body).data);
  return READ.get(record) as T | undefined;
}

export function credentialBook(
  org: string,
  view: Pick<StateView, 'get' | 'records' | 'revision'>,
  clock: Clock,
): CredentialBook {
  let locks: LockIndex | null = null;
  let locksAt = -1;

  function locked(credential: string): boolean {
    if (locksAt !== view.revision) {
      const all = [...view.records('lock', org)].map((record) => ({ id: record.id, lock: read<Lock>(record, Lock) }));
      const known = all.flatMap(({ id, lock }) => (lock === undefined ? [] : [{ ...lock, id }]));
      locks = known.length === all.length ? lockIndex(known, clock.now()) : null;
      locksAt = view.revision;
    }
    const subjects = { organisation: org, person: null, agent: '', server: null, tool: null, credential, token: '' };
    return locks === null || lockedBy(locks, subjects, clock.now()) !== null;
  }

  return {
    use: (id, serverId) => {
      const server = read<Server>(view.get('server', org, serverId), Server);
      if (server === undefined) return { ok: false, why: `is for no server that is called ${serverId}` };
      // Whoever edits a record must not thereby lead the secrets of the one before it elsewhere.
      if (server.state !== 'enabled') return { ok: false, why: `is not for ${serverId} while that is ${server.state}` };
      const credential = read<Credential>(view.get('credential', org, id), Credential);
      const use = useOf(credential, { id: serverId, environment: server.environment }, locked(id), clock.now());
      if (!use.ok) return { ok: false, why: use.error.message };
      const source = credential!.source;
      return { ok: true, ...use.value, reference: source.kind === 'reference' ? source.reference : null };
    },
    sealed: (credential, version) =>
      read<{ jwe: string }>(view.get('sealed_secret', org, sealedSecretId(credential, version)), SealedSecret)?.jwe ??
      null,
  };
}
