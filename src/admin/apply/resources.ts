/**
 * What `apply` takes and what a plan says. A resource is one governed record as a file says it; its kind decides which row of the route
 * table judges it (kinds.ts). Nothing here is believed: specs are read by the schema of that row.
 */
import { z } from 'zod';
import { SLUG, SLUG_RULE } from '../../lib/slug.ts';
import type { Json } from '../../lib/json.ts';
import { Reason, type BodyLimits } from '../route.ts';

export const MAX_RESOURCES = 2_000;
/** A whole folder comes in one request. The CLI has the same bound, so that it can name the file that is too much. */
export const APPLY_LIMITS: BodyLimits = { maxBytes: 4_194_304, maxMembers: 200_000 };

export const Resource = z.strictObject({
  kind: z.string().min(1).max(100),
  id: z.string().min(1).max(200),
  spec: z.record(z.string(), z.unknown()),
});
export type Resource = z.infer<typeof Resource>;

export const SetName = z.string().regex(SLUG, SLUG_RULE);

const planned = {
  resources: z.array(Resource).max(MAX_RESOURCES),
  /** Under which name the records are remembered; left out: they are not, and nothing leaves. */
  set: SetName.exactOptional(),
  /** What the set holds and the file does not is deleted or retired. Left out: it is let go, and stays as it is. */
  prune: z.boolean().default(false),
};
export const PlanBody = z.strictObject(planned);
export type PlanInput = z.infer<typeof PlanBody>;
export const ApplyBody = z.strictObject({
  ...planned,
  reason: Reason,
  /** Of the plan that somebody has seen. Another one is made now, and must be the same. */
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be the digest of a plan'),
  /** At which the plan was made, to say what has changed since. */
  revision: z.int().min(0).exactOptional(),
});

export interface RowProblem {
  readonly code: string;
  readonly message: string;
  readonly remedy?: string;
  /** From the resource on: `spec`, `upstream`, `url`. Empty: the resource as a whole. */
  readonly path: readonly string[];
}

/** One leaf of a record that differs; null where there is none. */
export interface FieldChange {
  readonly field: string;
  readonly before: Json;
  readonly after: Json;
}

/** `released`: leaves the set and stays as it is. `retire`: ends, and its record stays. */
export type Action = 'create' | 'change' | 'unchanged' | 'delete' | 'retire' | 'released' | 'refused';

export interface PlanRow {
  /** Place among the resources that were sent; null: it is not among them (it left the file). */
  readonly index: number | null;
  readonly kind: string;
  readonly id: string;
  readonly action: Action;
  /** As the record stands now; null: there is none. */
  readonly revision: number | null;
  readonly changes: readonly FieldChange[];
  readonly problems: readonly RowProblem[];
}

export const nameOf = (one: { readonly kind: string; readonly id: string }): string => `${one.kind}/${one.id}`;
