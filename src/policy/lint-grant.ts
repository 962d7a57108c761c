/**
 * Refuses a grant that is too wide or can mean nothing, before it is stored (AZ-05): a whole server only for classes that read or write, and
 * with an end within a year; everything else names its items. All problems at once, each with the member it is about.
 * Not checked here: whether somebody should have it. The review decides that.
 */
import { unfitConditions } from './grant-conditions.ts';
import type { Grant } from './grants.ts';
import type { ToolFacts } from './schema.ts';

export interface GrantFinding {
  /** Member of the grant. */
  readonly field: string;
  readonly code:
    | 'every_item'
    | 'without_end'
    | 'end_too_late'
    | 'ended'
    | 'begins_after_end'
    | 'risk_without_items'
    | 'condition_unfit'
    | 'argument_untyped'
    | 'item_unknown';
  readonly message: string;
  /** A warning may be stored: it permits nothing yet. */
  readonly warning: boolean;
}

const LONGEST_MS = 366 * 86_400_000;
/** Classes that may be given for a whole server. */
const BROAD: readonly string[] = ['read', 'write'];

/** `tool`: what is known of an item of the grant's server by its key. `at`: ms since the epoch. */
export function lintGrant(
  grant: Pick<Grant, 'what' | 'conditions' | 'startsAt' | 'expiresAt' | 'lastsMs'>,
  tool: (key: string) => ToolFacts | undefined,
  at: number,
): GrantFinding[] {
  const found: GrantFinding[] = [];
  const refuse = (field: string, code: GrantFinding['code'], message: string): void =>
    void found.push({ field, code, message, warning: false });
  const warn = (field: string, code: GrantFinding['code'], message: string): void =>
    void found.push({ field, code, message, warning: true });
  const { what, conditions, startsAt, expiresAt, lastsMs } = grant;
  const items = what.items ?? [];

  if (items.length === 0) {
    if (!what.risks)
      refuse(
        'what.items',
        'every_item',
        'is left out, so it would be every item: name items, or risk classes and an end',
      );
    for (const risk of what.risks ?? [])
      if (!BROAD.includes(risk))
        refuse('what.risks', 'risk_without_items', `${risk} is not given for a whole server: name the items`);
    if (expiresAt === null && lastsMs === undefined)
      refuse('expiresAt', 'without_end', 'a grant for a whole server needs an end, at most a year from now');
    else if (Math.max(expiresAt ?? 0, at + (lastsMs ?? 0)) > at + LONGEST_MS)
      refuse('expiresAt', 'end_too_late', 'a grant for a whole server lasts at most a year');
  }
  if (expiresAt !== null && expiresAt <= at) refuse('expiresAt', 'ended', 'lies in the past');
  if (expiresAt !== null && startsAt !== undefined && startsAt >= expiresAt)
    refuse('startsAt', 'begins_after_end', 'lies at or after its end');

  for (const { at: index, value } of unfitConditions(conditions))
    refuse(`conditions.${index}.values.${value}`, 'condition_unfit', 'is no folder or host that an argument can be in');
  items.forEach((key, index) => {
    const facts = tool(key);
    if (!facts)
      return warn(`what.items.${index}`, 'item_unknown', 'is not an approved item of that server; it permits nothing');
    conditions.forEach(({ argument, is }, place) => {
      const type = facts.parameters?.[argument];
      const fits = is === 'path_under' ? type === 'path' : is !== 'host_in' || type === 'url' || type === 'domain';
      if (!fits)
        warn(
          `conditions.${place}.argument`,
          'argument_untyped',
          `${argument} of ${key} is not reviewed as a ${is === 'path_under' ? 'path' : 'URL or domain'}, so the grant permits nothing there`,
        );
    });
  });
  return found;
}
