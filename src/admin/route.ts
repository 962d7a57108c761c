/** What a row of the route table and a handler are. Handlers get parsed input and a known person; they never see HTTP. */
import { z } from 'zod';
import type { Actor } from '../audit/entry.ts';
import type { Role } from '../directory/records.ts';
import type { Caller } from '../identity/caller.ts';
import type { Result } from '../lib/result.ts';
import type { ChangeOfState } from './commit.ts';
import type { AdminContext } from './context.ts';
import type { Problem } from './problem.ts';

export type Scope = 'admin:read' | 'admin:write';

/** A person of the directory, active and unlocked, behind a verified token. */
export interface AdminCaller {
  readonly person: string;
  readonly name: string;
  readonly roles: ReadonlySet<Role>;
  readonly token: Caller;
  readonly actor: Actor;
  /** Every use of this account is an alarm. */
  readonly breakGlass: boolean;
}

/** `If-Match` / `If-None-Match: *`: which state of a record the caller has seen. */
export type Seen =
  | { readonly kind: 'unsaid' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'revision'; readonly revision: number };

export interface Ask<Body, Query> {
  readonly ctx: AdminContext;
  readonly who: AdminCaller;
  readonly params: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly query: Query;
  readonly seen: Seen;
  /** Reference id of this request, in its errors and audit entries. */
  readonly ref: string;
  /** Set while `apply` rehearses a request: the change is handed to it instead of being committed (apply/stage.ts). */
  readonly stage?: (change: ChangeOfState) => Result<number, Problem>;
}

export interface Answer {
  readonly status?: 200 | 201;
  readonly body: unknown;
  /** Becomes the ETag. */
  readonly revision?: number;
  /** Left out: application/json. */
  readonly contentType?: string;
}

export interface BodyLimits {
  readonly maxBytes: number;
  /** Array elements and object members in the whole of it. */
  readonly maxMembers: number;
}

export interface Handler {
  readonly query: z.ZodType;
  /** Null: a body is refused. */
  readonly body: z.ZodType | null;
  /** How large a body may be; left out: what the listener takes from everybody. */
  readonly limits?: BodyLimits;
  run(ask: Ask<unknown, unknown>): Promise<Result<Answer, Problem>>;
}

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** Whole path with `:parameters`. */
  readonly path: string;
  readonly scope: Scope;
  /** One of them is enough. `everyone`: any active person. `newcomer`: nobody who has a record. */
  readonly roles: readonly Role[] | 'everyone' | 'newcomer';
  /** It has consequences: whoever does it has signed in a moment ago, with a second factor (ID-07). */
  readonly sensitive: boolean;
  /** Everyday work of people whom a record names and no role of the token does: still with a second factor. */
  readonly factor?: boolean;
  readonly handler: Handler;
  readonly summary: string;
}

const NoQuery = z.strictObject({});

/** Binds the types of query and body to the function that gets them parsed. */
export function handler<Q extends z.ZodType = typeof NoQuery, B extends z.ZodType = z.ZodUndefined>(spec: {
  readonly query?: Q;
  readonly body?: B;
  readonly limits?: BodyLimits;
  run(ask: Ask<z.infer<B>, z.infer<Q>>): Promise<Result<Answer, Problem>>;
}): Handler {
  return {
    query: spec.query ?? NoQuery,
    body: spec.body ?? null,
    ...(spec.limits && { limits: spec.limits }),
    run: (ask) => spec.run(ask as Ask<z.infer<B>, z.infer<Q>>),
  };
}

/** Why a change is made: goes into the history and the audit log. */
export const Reason = z.string().min(1, 'say why').max(1000);

/** A whole number in a query, in decimal digits only. */
export const queryNumber = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().int().min(min).max(max));
