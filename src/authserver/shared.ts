/**
 * What the parts of the authorization server have in common: built once by server.ts, handed to the grants, the events and
 * the pages. Nothing here has a lifetime of its own; a rotation of keys builds a new engine around the same parts.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock } from '../lib/clock.ts';
import type { AuthStorage } from './adapter.ts';
import type { AuthServerSettings } from './config.ts';
import type { Consents } from './consents.ts';
import type { FetchDocument } from './documents.ts';
import type { Endings } from './endings.ts';
import type { ClientPolicy, TokenClaims } from './client-facts.ts';
import type { AuthServerKeys } from './keys.ts';
import type { ResourceDirectory } from './resources.ts';
import type { UserDirectory } from './users.ts';

export interface SharedParts {
  readonly issuer: string;
  readonly settings: AuthServerSettings;
  readonly db: DatabaseSync;
  readonly clock: Clock;
  readonly keys: AuthServerKeys;
  readonly storage: AuthStorage;
  readonly consents: Consents;
  readonly endings: Endings;
  readonly resources: ResourceDirectory;
  readonly directory: UserDirectory;
  readonly clientPolicy: ClientPolicy;
  readonly tokenClaims: TokenClaims;
  /** For everything that a peer names: https, public addresses only, bounded, at most so many in a minute. */
  readonly fetchDocument: FetchDocument;
  /** A decision worth a log line; never a secret. */
  readonly note: (event: string, facts: Record<string, unknown>) => void;
}
