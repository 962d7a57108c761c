/**
 * Where the claim code of a new installation lies: a file of mode 0600 in dataDir, written anew at each start as long as there are no
 * people, removed when it is used or not needed. The code itself is never logged and never printed.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CLAIM_TTL_MS, newClaimCode, type ClaimCode } from '../admin/claim.ts';
import { loadOrCreateText } from './secret-file.ts';
import type { LocalView } from './state-view.ts';

export interface ClaimFile {
  readonly code: ClaimCode;
  readonly path: string;
  /** ms since the epoch. */
  readonly until: number;
}

/** Null: somebody is here already, or may come in another way. @throws Fault `secret_file` */
export function openClaimFile(facts: {
  readonly dataDir: string;
  readonly org: string;
  readonly view: LocalView;
  readonly issuers: readonly string[];
  /** The configuration names the first administrator. */
  readonly named: boolean;
  readonly now: number;
}): ClaimFile | null {
  const { dataDir, org, view, issuers, named, now } = facts;
  const path = join(dataDir, 'claim-code');
  const remove = (): void => rmSync(path, { force: true });
  remove();
  const begun = [...view.records('person', org)].length > 0 || view.get('claim', org, 'first-administrator');
  if (named || begun || issuers.length === 0) return null;
  const { text, code } = newClaimCode(now, remove);
  loadOrCreateText(path, () => `${text}\n`);
  return { code, path, until: now + CLAIM_TTL_MS };
}
