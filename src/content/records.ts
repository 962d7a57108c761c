/**
 * What an organisation says about content (CI-02 to CI-06, CI-11), as a governed record: kind `inspection`, id `default`.
 * Where no rule speaks, the defaults of rules.ts stand. A rule can never make Remit's own secrets or planted ones pass.
 */
import { z } from 'zod';
import { FAMILIES } from './terms.ts';
import type { Action, Family } from './terms.ts';

export const INSPECTED_RISKS = ['read', 'write', 'destructive', 'execute', 'regulated'] as const;
export type InspectedRisk = (typeof INSPECTED_RISKS)[number];
const DATA_CLASSES = ['public', 'internal', 'confidential', 'regulated'] as const;
export type InspectedDataClass = (typeof DATA_CLASSES)[number];

/** `family.*` or `family.kind`. */
const CLASS = /^([a-z_]{1,20})\.(\*|[A-Za-z0-9._-]{1,128})$/;
export const familyOf = (findingClass: string): string => findingClass.slice(0, findingClass.indexOf('.'));
const isFamily = (family: string): family is Family => FAMILIES.some((known) => known === family);

const FITS: Readonly<Record<'out' | 'in', readonly Action[]>> = {
  out: ['label', 'hold', 'block'],
  in: ['label', 'redact', 'withhold'],
};
/** Pictures, sound and archives are one piece: there is nothing to take out of them. */
const MEDIA: readonly Action[] = ['label', 'withhold', 'hold', 'block'];
/** What must never pass: Remit's own secrets, and the planted ones. */
const GUARDED: Readonly<Record<'out' | 'in', readonly Action[]>> = { out: ['block'], in: ['redact', 'withhold'] };

const FindingClass = z.string().superRefine((value, context) => {
  const family = CLASS.exec(value)?.[1];
  if (family === undefined)
    context.addIssue({
      code: 'custom',
      message: 'write family.* or family.kind, for example secret.* or personal.iban',
    });
  else if (!isFamily(family))
    context.addIssue({
      code: 'custom',
      message: `there is no family ${family}; the families are ${FAMILIES.join(', ')}`,
    });
});

export const InspectionRule = z
  .strictObject({
    classes: z.array(FindingClass).min(1).max(50),
    direction: z.enum(['out', 'in']),
    /** Left out: every risk class. */
    risks: z.array(z.enum(INSPECTED_RISKS)).min(1).exactOptional(),
    /** Ids of servers. Left out: every server. */
    servers: z.array(z.string().min(1).max(200)).min(1).max(1_000).exactOptional(),
    /** Servers that hold at least one of these. Left out: every server. */
    dataClasses: z.array(z.enum(DATA_CLASSES)).min(1).exactOptional(),
    action: z.enum(['label', 'redact', 'hold', 'withhold', 'block']),
  })
  .superRefine(({ classes, direction, action }, context) => {
    const say = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (!FITS[direction].includes(action))
      return say('action', `${action} does not go with direction ${direction}; use ${FITS[direction].join(', ')}`);
    for (const one of classes) {
      const family = familyOf(one);
      if ((family === 'own_secret' || family === 'honeytoken') && !GUARDED[direction].includes(action))
        say('action', `${one} may not pass: use ${GUARDED[direction].join(' or ')}`);
      if (family === 'media' && !MEDIA.includes(action))
        say('action', `nothing can be taken out of ${one}: use label or withhold`);
      if (family === 'copied' && direction === 'in') say('direction', `${one} is only looked for in what goes out`);
    }
  });
export type InspectionRule = z.infer<typeof InspectionRule>;

const FaultMode = z.enum(['label', 'refuse']);

export const InspectionPolicy = z.strictObject({
  /** The first rule that fits decides. */
  rules: z.array(InspectionRule).max(200).default([]),
  /** Hosts that pictures and the like may be loaded from; `*.example.com` for everything below a name. */
  linkHosts: z
    .array(
      z.string().regex(/^(?:\*\.)?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}$/, 'must be a host name in lower case'),
    )
    .max(1_000)
    .default([]),
  /** What a failing or late detector means, by risk class (CI-11). */
  onFault: z
    .strictObject({
      read: FaultMode.default('label'),
      write: FaultMode.default('refuse'),
      destructive: FaultMode.default('refuse'),
      execute: FaultMode.default('refuse'),
      regulated: FaultMode.default('refuse'),
    })
    .prefault({}),
  /** How much processor time all texts of one value may take, ms. */
  budgetMs: z.number().int().min(5).max(5_000).default(500),
});
export type InspectionPolicy = z.infer<typeof InspectionPolicy>;
