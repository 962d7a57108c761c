/**
 * Sign-ins that are under way at a provider. Promises: one per interaction (a newer one voids the older), good for one
 * answer of the provider it was sent to, within ten minutes; taken once, within a minute of the answer, by the browser that asked (the interaction's signed
 * cookie) and that brought the answer (the receipt). The cookie alone is not enough: whoever starts a sign-in and sends
 * the provider's link to somebody else would be them. Keeps assertion ids until they expire, too.
 */
import { randomBytes } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { sha256Hex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import { inTransaction } from '../database.ts';
import type { AskedSignIn } from './step-up.ts';

/** What only this server knows of the request: verifier and nonce, or the id of the AuthnRequest. */
export type FlowSecret = Readonly<Record<string, string>>;

export interface FlowStart {
  readonly interaction: string;
  readonly provider: string;
  readonly state: string;
  readonly secret: FlowSecret;
  readonly asked: AskedSignIn;
}

export interface FinishedFlow {
  readonly provider: string;
  readonly secret: FlowSecret;
  readonly asked: AskedSignIn;
  /** Seconds. */
  readonly startedAt: number;
  /** As it came: query of the callback, or SAMLResponse. */
  readonly answer: string;
}

export interface Flows {
  begin(flow: FlowStart): void;
  /** Keeps the answer until the browser comes with its cookie and the receipt, which is for whoever brought it. null: nobody waits for this. */
  answer(
    provider: string,
    state: string,
    answer: string,
  ): { readonly interaction: string; readonly receipt: string } | null;
  /** The answered sign-in of this interaction, once. Another receipt leaves it where it is. */
  take(interaction: string, receipt: string): FinishedFlow | null;
  /** False: it was used before. `expiresAt`: seconds. */
  useOnce(id: string, expiresAt: number): boolean;
}

const GOOD_FOR_SECONDS = 600;
/** The browser that brought an answer is sent on to fetch its page at once. ATTACKER-CONTROLLED: answers of a quarter of a megabyte that nobody comes for. */
const FETCHED_WITHIN_SECONDS = 60;

export function flows(db: DatabaseSync, clock: Clock): Flows {
  const now = (): number => Math.floor(clock.now() / 1_000);
  const forget = db.prepare('DELETE FROM federation_flow WHERE expires_at <= ?');
  const insert = db.prepare(
    `INSERT INTO federation_flow (interaction, state, provider, secret, asked, started_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (interaction) DO UPDATE SET state = excluded.state, provider = excluded.provider, secret = excluded.secret,
       asked = excluded.asked, started_at = excluded.started_at, expires_at = excluded.expires_at, answer = NULL, receipt = NULL`,
  );
  const keep = db.prepare(
    `UPDATE federation_flow SET answer = ?, receipt = ?, expires_at = MIN(expires_at, ?) WHERE state = ? AND provider = ? AND answer IS NULL AND expires_at > ? RETURNING interaction`,
  );
  const take = db.prepare(
    'DELETE FROM federation_flow WHERE interaction = ? AND receipt = ? AND answer IS NOT NULL AND expires_at > ? RETURNING provider, secret, asked, started_at, answer',
  );
  const forgetUsed = db.prepare('DELETE FROM federation_used WHERE expires_at <= ?');
  const use = db.prepare('INSERT INTO federation_used (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING');
  return {
    begin: ({ interaction, provider, state, secret, asked }) => {
      inTransaction(db, () => {
        forget.run(now());
        insert.run(
          interaction,
          sha256Hex(state),
          provider,
          JSON.stringify(secret),
          JSON.stringify(asked),
          now(),
          now() + GOOD_FOR_SECONDS,
        );
      });
    },
    answer: (provider, state, answer) => {
      const receipt = randomBytes(32).toString('base64url');
      const row = keep.get(
        answer,
        sha256Hex(receipt),
        now() + FETCHED_WITHIN_SECONDS,
        sha256Hex(state),
        provider,
        now(),
      );
      return row === undefined ? null : { interaction: String(row['interaction']), receipt };
    },
    take: (interaction, receipt) => {
      const row = take.get(interaction, sha256Hex(receipt), now());
      if (row === undefined) return null;
      return {
        provider: String(row['provider']),
        secret: JSON.parse(String(row['secret'])) as FlowSecret,
        asked: JSON.parse(String(row['asked'])) as AskedSignIn,
        startedAt: Number(row['started_at']),
        answer: String(row['answer']),
      };
    },
    useOnce: (id, expiresAt) =>
      inTransaction(db, () => {
        forgetUsed.run(now());
        return use.run(sha256Hex(id), expiresAt).changes === 1;
      }),
  };
}
