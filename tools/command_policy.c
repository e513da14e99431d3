#include "commands.h"

#include <errno.h>
#include <stdio.h>

#include "resolver/engines.h"
#include "resolver/facts.h"

int command_policy_open(struct command_policy *policy, const struct config *config)
{
	const char *categories[CONFIG_CATEGORIES_MAX];
	char dir[4096], why[LISTS_WHY_MAX] = "";
	uint64_t failed;

	*policy = (struct command_policy){ 0 };
	for (size_t i = 0; i < config->category_count; i++)
		categories[i] = config->categories[i].name;
	snprintf(dir, sizeof dir, "%s/lists", config->state_dir);
	int ret = lists_open_newest_good(&policy->lists, dir, categories, config->category_count, why);
	if (ret < 0)
		policy->lists = NULL;
	if (why[0] != '\0')
		command_say(why);
	if (ret == -EACCES)
		return ret;
	ret = command_rules(config, &policy->rules);
	if (ret == -EACCES || ret == -ENOMEM)
		return ret;
	policy->table =
	        facts_table_new(config, policy->rules, policy->lists != NULL ? lists_seed(policy->lists) : 0);
	if (policy->table != NULL && engines_read(config, &failed) == 0)
		facts_table_fail_engines(policy->table, failed);
	if (policy->lists != NULL)
		policy->view = lists_view_open(policy->lists);
	return policy->table != NULL && (policy->lists == NULL || policy->view != NULL) ? 0 : -ENOMEM;
}

void command_policy_close(struct command_policy *policy)
{
	facts_table_free(policy->table);
	lists_view_close(policy->view);
	lists_free(policy->lists);
	rules_free(policy->rules);
}
