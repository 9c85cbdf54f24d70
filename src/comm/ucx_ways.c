/* ucx_ways.c - asks every component of UCX what it has on this host */

#include "comm/ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <uct/api/uct.h>

struct list {
    struct ce_way *way;
    size_t count;
};

static ucs_status_t add(struct list *list, const uct_tl_resource_desc_t *found)
{
    struct ce_way *grown = realloc(list->way, (list->count + 1) * sizeof(*grown));
    struct ce_way *way = NULL;

    if (grown == NULL) {
        return UCS_ERR_NO_MEMORY;
    }
    list->way = grown;
    way = &grown[list->count++];
    (void)snprintf(way->transport, sizeof(way->transport), "%s", found->tl_name);
    (void)snprintf(way->device, sizeof(way->device), "%s", found->dev_name);
    way->network = found->dev_type == UCT_DEVICE_TYPE_NET;
    return UCS_OK;
}

/* A domain that cannot be opened has nothing to offer, as UCX itself sees it. */
static ucs_status_t
add_domain(struct list *list, uct_component_h component, const char *name)
{
    uct_md_config_t *config = NULL;
    uct_md_h domain = NULL;
    uct_tl_resource_desc_t *found = NULL;
    unsigned count = 0;
    ucs_status_t status = uct_md_config_read(component, NULL, NULL, &config);

    if (status != UCS_OK) {
        return status;
    }
    status = uct_md_open(component, name, config, &domain);
    uct_config_release(config);
    if (status != UCS_OK) {
        return UCS_OK;
    }
    status = uct_md_query_tl_resources(domain, &found, &count);
    if (status == UCS_OK) {
        for (unsigned i = 0; status == UCS_OK && i < count; i++) {
            status = add(list, &found[i]);
        }
        uct_release_tl_resource_list(found);
    }
    uct_md_close(domain);
    return status;
}

static ucs_status_t add_component(struct list *list, uct_component_h component)
{
    uct_component_attr_t about = {.field_mask =
                                      UCT_COMPONENT_ATTR_FIELD_MD_RESOURCE_COUNT};
    uct_md_resource_desc_t *domains = NULL;
    ucs_status_t status = uct_component_query(component, &about);

    if (status != UCS_OK || about.md_resource_count == 0) {
        return status;
    }
    domains = calloc(about.md_resource_count, sizeof(domains[0]));
    if (domains == NULL) {
        return UCS_ERR_NO_MEMORY;
    }
    about.field_mask = UCT_COMPONENT_ATTR_FIELD_MD_RESOURCES;
    about.md_resources = domains;
    status = uct_component_query(component, &about);
    for (unsigned i = 0; status == UCS_OK && i < about.md_resource_count; i++) {
        status = add_domain(list, component, domains[i].md_name);
    }
    free(domains);
    return status;
}

enum ce_status ce_ways_find(struct ce_way **ways, size_t *count, struct ce_error *err)
{
    struct list list = {0};
    uct_component_h *components = NULL;
    unsigned found = 0;
    ucs_status_t status = uct_query_components(&components, &found);

    if (status == UCS_OK) {
        for (unsigned i = 0; status == UCS_OK && i < found; i++) {
            status = add_component(&list, components[i]);
        }
        uct_release_component_list(components);
    }
    *ways = list.way;
    *count = list.count;
    if (status != UCS_OK) {
        return ce_fail(err,
                       CE_ERR_COMM,
                       "UCX does not say what it has on this host: %s",
                       ucs_status_string(status));
    }
    return CE_OK;
}
