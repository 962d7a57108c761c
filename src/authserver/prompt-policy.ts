/**
 * When a person is asked to sign in or to consent, beyond the engine's own rules (no session, max_age, prompt, scopes not
 * granted yet, native clients always). Does not decide how somebody signs in.
 */
import { interactionPolicy } from 'oidc-provider';
import { wordsOf } from './scopes.ts';

/** @param silentNatives drop the question for native clients: unsafe */
export function promptPolicy(silentNatives: boolean): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('person_gone', 'the signed-in person is gone', (ctx) => {
      return ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined;
    }),
  );
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('acr_not_met', 'another kind of sign-in was asked for', ({ oidc }) => {
      const asked = wordsOf(oidc.params?.['acr_values']);
      // Asked once: if the sign-in cannot be of that kind, the token says which it was, and who demands more refuses.
      return asked.length > 0 && oidc.result?.login === undefined && !asked.includes(oidc.session?.acr ?? '');
    }),
  );
  if (silentNatives) policy.get('consent')?.checks.remove('native_client_prompt');
  return policy;
}
