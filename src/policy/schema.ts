/**
 * The Cedar schema of Remit: what a policy may speak about, and nothing else. Strict validation against it is what turns a
 * misspelt attribute or an unknown risk class into an error on save instead of a rule that never matches.
 * Facts come from the directory and the inventory; nothing a server says about itself is here (AZ-06). Guide: docs/guides/policy.md.
 */

import type { Parameters } from '../lib/typed-arguments.ts';

/** The same words as directory/records.ts, integrity/records.ts and inventory/records.ts; test/policy/schema.test.ts holds them together. */
export const POLICY_ROLES = [
  'member',
  'developer',
  'operator',
  'approver',
  'security_reviewer',
  'auditor',
  'administrator',
] as const;
export const POLICY_RISKS = ['read', 'write', 'destructive', 'execute', 'regulated'] as const;
export const POLICY_ENVIRONMENTS = ['evaluation', 'development', 'staging', 'production'] as const;
export const POLICY_DATA_CLASSES = ['public', 'internal', 'confidential', 'regulated'] as const;
export const POLICY_KINDS = ['tool', 'prompt', 'resource', 'template', 'server'] as const;

export type Risk = (typeof POLICY_RISKS)[number];
export type Environment = (typeof POLICY_ENVIRONMENTS)[number];
export type DataClass = (typeof POLICY_DATA_CLASSES)[number];
export type Kind = (typeof POLICY_KINDS)[number];

/** What policies know of a tool or another item. All of it is set by Remit's reviewers and owners, never by the server. */
export interface ToolFacts {
  readonly server: string;
  /** Its key: the name of a tool, `<kind> <name>` of everything else. */
  readonly name: string;
  readonly kind: Kind;
  readonly risk: Risk;
  /** The OAuth scope that belongs to the tool. */
  readonly scope: string;
  readonly environment: Environment;
  readonly dataClasses: readonly DataClass[];
  /** What it is given can leave the organisation. Left out: it cannot. */
  readonly outward?: boolean;
  /** What the reviewer said some arguments are, by JSON Pointer (AZ-03). */
  readonly parameters?: Parameters;
}

const words = (values: readonly string[]): string => JSON.stringify(values);

/**
 * Arguments are exposed as four maps from JSON Pointer (RFC 6901) to value, so that a policy must ask `hasTag` before it reads
 * (the validator insists), and a missing argument is never an evaluation error.
 */
export const CEDAR_SCHEMA = `namespace Remit {
  entity Role enum ${words(POLICY_ROLES)};
  entity Risk enum ${words(POLICY_RISKS)};
  entity Environment enum ${words(POLICY_ENVIRONMENTS)};
  entity DataClass enum ${words(POLICY_DATA_CLASSES)};
  entity Kind enum ${words(POLICY_KINDS)};

  entity Group;
  entity Person in [Role, Group];
  entity Agent;
  entity Server;
  entity Tool in [Server] = { kind: Kind, risk: Risk, environment: Environment, dataClasses: Set<DataClass>, outward: Bool };

  entity Strings tags String;
  entity Numbers tags Long;
  entity Flags tags Bool;
  entity Lists tags Set<String>;
  type Arguments = { strings: Strings, numbers: Numbers, flags: Flags, lists: Lists };
  type SignIn = { age: Long, factors: Set<String>, secondFactor: Bool, acr: String };

  action callTool appliesTo {
    principal: Person,
    resource: Tool,
    context: {
      agent: Agent,
      scopeHeld: Bool,
      scopes: Set<String>,
      approved: Bool,
      untrusted: Bool,
      private: Bool,
      confidential: Bool,
      regulated: Bool,
      secret: Bool,
      copied: Bool,
      copiedFrom: Set<String>,
      receivedFrom: Set<String>,
      at: Long,
      signIn: SignIn,
      alone: Bool,
      actors: Set<String>,
      arguments: Arguments
    }
  };
}
`;
