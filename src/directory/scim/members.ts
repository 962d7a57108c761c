/**
 * Members of a group as clients write them, read into steps over ids. Nothing here knows who is a member: the steps are carried out against
 * the index, so that adding one person to a group of fifty thousand reads one id. Groups within groups are refused (decision 0009).
 */
import type { Json } from '../../lib/json.ts';
import { bad } from './problem.ts';
import type { ElementFilter } from './filter.ts';

export type MemberStep =
  | { readonly do: 'add' | 'remove' | 'replace'; readonly ids: readonly string[] }
  /** Removes whom the filter finds. */
  | { readonly do: 'removeWhere'; readonly test: ElementFilter['test'] };

const NESTED =
  'Groups within groups are not supported. Assign the people themselves, or let the directory send the members of nested groups.';

/** `[{"value": id}]`, one such object, `["id"]`, `"id"`; null or nothing is nobody. */
export function memberIds(value: Json | undefined): readonly string[] {
  if (value === undefined || value === null) return [];
  const list = Array.isArray(value) ? (value as readonly Json[]) : [value];
  return list.map((element) => {
    if (typeof element === 'string') return checkedId(element);
    if (typeof element !== 'object' || element === null || Array.isArray(element))
      return bad('invalidValue', 'members must be objects with a "value".');
    let id: Json | undefined;
    for (const [name, member] of Object.entries(element as { readonly [name: string]: Json })) {
      const lower = name.toLowerCase();
      if (lower === 'value') id = member;
      if (lower === 'type' && typeof member === 'string' && member.toLowerCase() === 'group')
        bad('invalidValue', NESTED);
    }
    return typeof id === 'string' ? checkedId(id) : bad('invalidValue', 'members.value must be the id of a user.');
  });
}

function checkedId(id: string): string {
  return id !== '' && id.length <= 100 ? id : bad('invalidValue', 'members.value must be the id of a user.');
}

export const refuseNested = (): never => bad('invalidValue', NESTED);
