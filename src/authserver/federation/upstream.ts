/** What the two protocols have in common for the rest of the sign-in. */
import { Fault } from '../../lib/fault.ts';
import type { JsonObject } from '../../lib/json.ts';
import type { FlowSecret } from './flows.ts';
import type { AskedSignIn, SignInFacts } from './step-up.ts';

export interface BeginOptions {
  readonly state: string;
  readonly asked: AskedSignIn;
  /** The person wants to be somebody else than before. */
  readonly chooseAccount: boolean;
}

export interface VerifiedAnswer extends SignInFacts {
  readonly claims: JsonObject;
}

export interface Upstream {
  /** Where to send the browser. @throws SignInFault `federation_unavailable` */
  begin(options: BeginOptions): Promise<{ readonly url: string; readonly secret: FlowSecret }>;
  /** @throws SignInFault */
  finish(answer: string, secret: FlowSecret): Promise<VerifiedAnswer>;
  /** SAML: our metadata. null: there is none. */
  metadata(): Promise<string | null>;
}

export type SignInFaultCode =
  | 'federation_unavailable' // no usable answer; another try may succeed
  | 'federation_refused'; // the provider said no, or what it said does not hold

/** `message` is for the log: it names the check that failed, in our words. Text of the provider is not in it. */
export class SignInFault extends Fault<SignInFaultCode> {}
