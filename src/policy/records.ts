/** A policy as a governed record: Cedar text under a name. Only `active` ones decide; a `shadow` is a draft that is watched on live traffic. */
import { z } from 'zod';

export const PolicyRecord = z.strictObject({
  description: z.string().min(1).max(2000),
  /** Cedar policy text; validated against Remit's schema before it is stored. */
  text: z.string().min(1).max(100_000),
  state: z.enum(['draft', 'shadow', 'active']),
  /** Part of a draft: policies that leave force in the step that puts this one in force. Spent by that step, so empty afterwards. */
  replaces: z.array(z.string().min(1).max(200)).max(100).default([]),
});
export type PolicyRecord = z.infer<typeof PolicyRecord>;
