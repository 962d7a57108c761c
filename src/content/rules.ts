/**
 * The record of kind `inspection` as terms to look at a text by: what is done about each class, for one direction, risk class and server.
 * Made when the state changes; terms are kept by server, direction and risk, so a call looks them up and makes nothing.
 * INVARIANT: an own or a planted secret never passes, whatever a record says; the one exception is the server a credential belongs to.
 */
import { familyOf, InspectionPolicy } from './records.ts';
import type { Action, AskedTerms, Direction, Family, Matcher, Terms } from './terms.ts';

export interface TermsFor extends AskedTerms {
  readonly own: Matcher | null;
  readonly planted: Matcher | null;
}

export interface Rules {
  /** The same object for the same question. */
  terms(asked: TermsFor): Terms;
}

type Defaults = Readonly<Record<Family, Action>>;
/** Where no rule speaks. */
const DEFAULTS: Readonly<Record<Direction, Defaults>> = {
  out: {
    secret: 'block',
    own_secret: 'block',
    honeytoken: 'block',
    personal: 'label',
    hidden: 'label',
    link: 'label',
    instruction: 'label',
    media: 'label',
    copied: 'label',
  },
  in: {
    secret: 'redact',
    own_secret: 'redact',
    honeytoken: 'redact',
    personal: 'label',
    hidden: 'redact',
    link: 'redact',
    instruction: 'label',
    media: 'label',
    copied: 'label',
  },
};
/** Classes whose default is not that of their family: what is only likely informs, it does not decide. */
const SOFT: ReadonlySet<string> = new Set(['secret.entropy', 'link.data', 'media.mismatch']);

const byDefault = (direction: Direction, findingClass: string): Action | null => {
  if (SOFT.has(findingClass)) return 'label';
  return DEFAULTS[direction][familyOf(findingClass) as Family] ?? null;
};

/** Never weaker than this. */
const guarded = (direction: Direction, findingClass: string, action: Action): Action => {
  const family = familyOf(findingClass);
  if (family !== 'own_secret' && family !== 'honeytoken') return action;
  if (direction === 'out') return 'block';
  return action === 'withhold' ? 'withhold' : 'redact';
};

/** @param policy null: nobody wrote one, the defaults stand. */
export function compileRules(policy: InspectionPolicy | null): Rules {
  const written = policy ?? InspectionPolicy.parse({});
  const hosts: ReadonlySet<string> = new Set(written.linkHosts);
  const kept = new Map<string, Kept[]>();
  return {
    terms: (asked) => {
      let ofServer = kept.get(asked.server);
      if (ofServer === undefined) kept.set(asked.server, (ofServer = []));
      for (const one of ofServer) if (isFor(one, asked)) return one.terms;
      // What the books hold changes with the state; what was made for old books goes with them.
      if (ofServer.length >= 64) ofServer.length = 0;
      const terms = termsOf(asked, written, hosts);
      ofServer.push({ ...asked, terms });
      return terms;
    },
  };
}

interface Kept extends TermsFor {
  readonly terms: Terms;
}
const isFor = (kept: Kept, asked: TermsFor): boolean =>
  kept.direction === asked.direction &&
  kept.risk === asked.risk &&
  kept.own === asked.own &&
  kept.planted === asked.planted &&
  (kept.except ?? null) === (asked.except ?? null) &&
  (kept.dataClasses === asked.dataClasses || kept.dataClasses.join() === asked.dataClasses.join());

function termsOf(
  { own, planted, ...asked }: TermsFor,
  policy: InspectionPolicy,
  linkHosts: ReadonlySet<string>,
): Terms {
  const { direction, risk, server, dataClasses, except = null } = asked;
  const { rules, budgetMs } = policy;
  const onFault = policy.onFault[risk ?? 'regulated'];
  const meant = rules.filter(
    (rule) =>
      rule.direction === direction &&
      // Without an item every rule counts that could.
      (rule.risks === undefined || risk === null || rule.risks.includes(risk)) &&
      (rule.servers === undefined || rule.servers.includes(server)) &&
      (rule.dataClasses === undefined || rule.dataClasses.some((one) => dataClasses.includes(one))),
  );
  const decided = new Map<string, Action | null>();
  const actionFor = (findingClass: string): Action | null => {
    const known = decided.get(findingClass);
    if (known !== undefined) return known;
    const family = familyOf(findingClass);
    const itsOwn =
      direction === 'out' && family === 'own_secret' && except?.has(findingClass.slice('own_secret.'.length));
    const rule = meant.find(({ classes }) => classes.some((one) => one === findingClass || one === `${family}.*`));
    const action = itsOwn
      ? null
      : guarded(direction, findingClass, rule?.action ?? byDefault(direction, findingClass) ?? 'label');
    // Classes are ours and ids of records: a bounded number, but nobody's promise.
    if (decided.size < 4_096) decided.set(findingClass, action);
    return action;
  };
  return { direction, actionFor, linkHosts, own, planted, onFault, budgetMs, recipe: { policy, asked } };
}
